-- Workers of the version before may be at work: all they lock is locked first, at once, so that nothing deadlocks.
LOCK TABLE bulkhead.exports, bulkhead.stages, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events IN ACCESS EXCLUSIVE MODE;

-- What the queue does costs the same however many stages are finished, wait for next week, or wait for a source at its limit.

-- The server forgets a file then. Of those of one rank, the first to go is downloaded first.
ALTER TABLE bulkhead.stages ADD COLUMN expires_at timestamptz;
UPDATE bulkhead.stages s SET expires_at = e.expires_at
  FROM bulkhead.exports e WHERE e.id = s.export_id AND s.lane = 'transfer' AND s.state = 'ready';

-- What a failed export can no longer run is out of the claims' way. A retry makes it ready again.
UPDATE bulkhead.stages s SET state = 'dead', error = coalesce(s.error, 'its export failed first')
  FROM bulkhead.exports e
 WHERE e.id = s.export_id AND e.state = 'failed' AND s.state = 'ready' AND s.kind NOT IN ('release', 'clean_up');

-- Each lane in the order it is claimed in.
DROP INDEX bulkhead.stages_ready;
DROP INDEX bulkhead.stages_due;
CREATE INDEX stages_control ON bulkhead.stages (next_run_at) WHERE state = 'ready' AND lane = 'control';
CREATE INDEX stages_poll ON bulkhead.stages (next_run_at) WHERE state = 'ready' AND lane = 'poll';
CREATE INDEX stages_load ON bulkhead.stages (rank, next_run_at) WHERE state = 'ready' AND lane = 'load';
CREATE INDEX stages_transfer ON bulkhead.stages (source_id, rank, expires_at, next_run_at) WHERE state = 'ready' AND lane = 'transfer';

-- How many more downloads a source may run.
CREATE FUNCTION bulkhead.free_transfers(source uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT o.max_parallel - (SELECT count(*) FROM bulkhead.stages r
                              WHERE r.source_id = source AND r.lane = 'transfer' AND r.state = 'running')
      FROM bulkhead.sources o WHERE o.id = source;
$$;

-- When the finished stages of an export may go: a day after its end, and again a day after whatever follows the end.
ALTER TABLE bulkhead.exports ADD COLUMN purge_at timestamptz;
UPDATE bulkhead.exports SET purge_at = finished_at + interval '1 day' WHERE state IN ('completed', 'cancelled');
CREATE INDEX exports_purge ON bulkhead.exports (purge_at) WHERE purge_at IS NOT NULL;
CREATE FUNCTION bulkhead.plan_purge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.purge_at := CASE WHEN NEW.state IN ('completed', 'cancelled') THEN clock_timestamp() + interval '1 day' END;
    RETURN NEW;
END $$;
CREATE TRIGGER plan_purge BEFORE UPDATE OF state ON bulkhead.exports FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION bulkhead.plan_purge();
DROP INDEX bulkhead.stages_finished;

CREATE INDEX exports_uncleaned ON bulkhead.exports (finished_at) WHERE state = 'failed' AND cleaned_at IS NULL;
