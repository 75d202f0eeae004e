-- What went wrong, told apart by its class, and when each phase of an export worked: for the pages.

-- Workers of the version before may be at work: all they lock is locked first, at once, so that nothing deadlocks.
LOCK TABLE bulkhead.exports, bulkhead.stages, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events IN ACCESS EXCLUSIVE MODE;

-- Of a sentence that tells of a failure: its class, as in exports.failure_reason. A warning tells of an attempt that will be followed by
-- another, an error of the last one.
ALTER TABLE bulkhead.export_events ADD COLUMN reason text;
CREATE INDEX export_events_troubles ON bulkhead.export_events (at) INCLUDE (level, reason, stage, export_id) WHERE reason IS NOT NULL;
-- What failed in some time, by class and server, without a look at the exports themselves.
CREATE INDEX exports_failures ON bulkhead.exports (finished_at) INCLUDE (failure_reason, source_id)
    WHERE state = 'failed' AND purpose = 'export' AND delete_requested_at IS NULL;

-- An export's files as its page lists them: those that failed, those to come, those that are here. A page of them is a page of this index.
CREATE INDEX export_files_listed ON bulkhead.export_files
    (export_id, (CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END), n);
-- The few parts with lines that could not be loaded.
CREATE INDEX file_parts_rejected ON bulkhead.file_parts (export_id) WHERE rejects > 0;

-- When each kind of stage was there, and when it was at work, in cells of some length: their last runs, joined where they overlap.
CREATE FUNCTION bulkhead.phases_of_stages(job uuid, cell interval)
RETURNS TABLE (kind text, began_at timestamptz, ended_at timestamptz, stages bigint, live bigint, runs bigint, snoozes bigint, busy tstzmultirange)
LANGUAGE sql STABLE AS $$
    SELECT s.kind, min(s.created_at), max(coalesce(s.finished_at, s.created_at)), count(*),
           count(*) FILTER (WHERE s.state IN ('ready', 'running')), sum(s.runs)::bigint, sum(s.snoozes)::bigint,
           coalesce(range_agg(tstzrange(date_bin(cell, s.started_at, 'epoch'),
                                        date_bin(cell, coalesce(s.finished_at, s.wake_at, clock_timestamp()), 'epoch') + cell))
                    FILTER (WHERE s.started_at IS NOT NULL AND s.wake_at IS NULL AND s.state <> 'ready'
                                  AND s.started_at <= coalesce(s.finished_at, clock_timestamp())), '{}')
      FROM bulkhead.stages s WHERE s.export_id = job GROUP BY s.kind
$$;

-- The same, kept when an export's finished stages go.
CREATE TABLE bulkhead.export_phases (
    export_id uuid NOT NULL REFERENCES bulkhead.exports ON DELETE CASCADE,
    kind      text NOT NULL,
    began_at  timestamptz NOT NULL,
    ended_at  timestamptz NOT NULL,
    stages    bigint NOT NULL,
    runs      bigint NOT NULL,
    snoozes   bigint NOT NULL,
    busy      tstzmultirange NOT NULL,
    PRIMARY KEY (export_id, kind)
);
CREATE FUNCTION bulkhead.keep_phases(job uuid) RETURNS void LANGUAGE sql AS $$
    INSERT INTO bulkhead.export_phases AS kept (export_id, kind, began_at, ended_at, stages, runs, snoozes, busy)
    SELECT job, p.kind, p.began_at, p.ended_at, p.stages, p.runs, p.snoozes, p.busy
      FROM bulkhead.exports e,
           bulkhead.phases_of_stages(job, greatest((coalesce(e.finished_at, clock_timestamp()) - e.created_at) / 240, interval '50 ms')) p
     WHERE e.id = job AND p.live = 0
    ON CONFLICT (export_id, kind) DO UPDATE
       SET began_at = least(kept.began_at, excluded.began_at), ended_at = greatest(kept.ended_at, excluded.ended_at),
           stages = kept.stages + excluded.stages, runs = kept.runs + excluded.runs, snoozes = kept.snoozes + excluded.snoozes,
           busy = kept.busy + excluded.busy
$$;
