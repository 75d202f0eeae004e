-- What operators use in psql, and the HTTP API with them: the same functions, so one behaviour.
-- Each takes the export's row lock first and touches its stages in a later statement, whose snapshot then
-- sees what a finishing stage inserted. They change rows only; a worker's sweeper issues the tickets.

CREATE FUNCTION bulkhead.tell(export uuid, level text, message text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO bulkhead.export_events (export_id, level, message) VALUES (export, level, message);
$$;

-- Whoever waited for this export may start, or waits for what it was waiting for itself.
CREATE FUNCTION bulkhead.let_waiting_start(ended uuid, instead uuid DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    WITH next AS (UPDATE bulkhead.exports SET waits_for = instead WHERE waits_for = ended RETURNING id)
    UPDATE bulkhead.stages SET ticketed_at = NULL WHERE export_id IN (SELECT id FROM next) AND state = 'ready';
$$;

CREATE FUNCTION bulkhead.cancel_export(job uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    e bulkhead.exports;
BEGIN
    SELECT * INTO e FROM bulkhead.exports WHERE id = job FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no export %', job USING ERRCODE = 'no_data_found';
    END IF;
    IF e.state = 'cancelled' THEN
        RETURN 'cancelled';
    END IF;
    IF e.state = 'completed' THEN
        RAISE EXCEPTION 'export % is completed; delete it instead of cancelling it', job USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE bulkhead.exports
       SET state = 'cancelled', finished_at = clock_timestamp(), waits_for = NULL,
           failed_from = NULL, failure_stage = NULL, failure_reason = NULL, failure_detail = NULL, failure_remedy = NULL
     WHERE id = job;
    UPDATE bulkhead.stages
       SET state = 'cancelled', worker_id = NULL, claim_id = NULL, finished_at = clock_timestamp()
     WHERE export_id = job AND state IN ('ready', 'running', 'dead');
    IF e.status_url IS NOT NULL AND e.released_at IS NULL THEN
        INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
        VALUES (gen_random_uuid(), job, e.source_id, 'release', 'control', 5);
    END IF;
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
    VALUES (gen_random_uuid(), job, e.source_id, 'clean_up', 'control', 20);
    PERFORM bulkhead.let_waiting_start(job, e.waits_for);
    PERFORM bulkhead.tell(job, 'warning', 'cancelled by an operator');
    RETURN 'cancelled';
END $$;

-- A failed export goes on where it stopped. Where its server has forgotten it, it starts over.
CREATE FUNCTION bulkhead.retry_export(job uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    e bulkhead.exports;
    start_over boolean;
BEGIN
    SELECT * INTO e FROM bulkhead.exports WHERE id = job FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no export %', job USING ERRCODE = 'no_data_found';
    END IF;
    IF e.state <> 'failed' THEN
        RAISE EXCEPTION 'export % is %; only a failed export can be retried', job, e.state
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    start_over := e.failure_reason IN ('expired', 'server_error') AND e.level <> 'unknown';
    IF start_over THEN
        INSERT INTO bulkhead.orphan_exports (source_id, export_id, status_url)
        SELECT e.source_id, job, e.status_url WHERE e.status_url IS NOT NULL ON CONFLICT DO NOTHING;
        DELETE FROM bulkhead.stages WHERE export_id = job AND kind <> 'auth';
        DELETE FROM bulkhead.export_files WHERE export_id = job;
        UPDATE bulkhead.exports
           SET restarts = restarts + 1, failed_from = 'queued', kick_off_intent_at = NULL, status_url = NULL,
               next_manifest_url = NULL, manifest = NULL, manifest_pages = 0, manifest_complete = false,
               transaction_time = NULL, expires_at = NULL
         WHERE id = job;
        UPDATE bulkhead.stages SET state = 'dead' WHERE export_id = job AND kind = 'auth';
    ELSE
        -- A file with a gap is read again; parts that come out the same keep their rows.
        WITH gaps AS (
            UPDATE bulkhead.export_files f SET state = 'pending', error = NULL
             WHERE f.export_id = job AND (f.state = 'failed'
                OR (f.expected_count IS NOT NULL AND f.state = 'downloaded' AND f.lines <> f.expected_count)
                OR EXISTS (SELECT FROM bulkhead.file_parts p WHERE p.file_id = f.id AND (p.rejects > 0 OR p.state = 'lost')))
            RETURNING f.id)
        UPDATE bulkhead.stages s SET state = 'dead'
          FROM gaps WHERE s.export_id = job AND s.file_id = gaps.id AND s.kind = 'download' AND s.state = 'done';
    END IF;
    UPDATE bulkhead.exports
       SET state = failed_from, finished_at = NULL, findings = '[]', cleaned_at = NULL,
           kick_off_intent_at = CASE WHEN failure_reason = 'kick_off_uncertain' THEN NULL ELSE kick_off_intent_at END,
           failed_from = NULL, failure_stage = NULL, failure_reason = NULL, failure_detail = NULL, failure_remedy = NULL
     WHERE id = job
    RETURNING * INTO e;
    UPDATE bulkhead.stages
       SET state = 'ready', attempt = 0, next_run_at = clock_timestamp(), ticketed_at = NULL, finished_at = NULL
     WHERE export_id = job AND state = 'dead';
    PERFORM bulkhead.tell(job, 'info', CASE WHEN start_over
        THEN 'retried by an operator: its server no longer has it, so it starts over'
        ELSE 'retried by an operator: it goes on where it stopped' END);
    RETURN e.state;
END $$;

-- The gaps are known and accepted: an incomplete export becomes completed, its findings stay.
CREATE FUNCTION bulkhead.accept_export(job uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    e bulkhead.exports;
BEGIN
    SELECT * INTO e FROM bulkhead.exports WHERE id = job FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no export %', job USING ERRCODE = 'no_data_found';
    END IF;
    IF e.state = 'completed' THEN
        RETURN 'completed';
    END IF;
    IF e.state <> 'failed' OR e.failure_reason <> 'incomplete' THEN
        RAISE EXCEPTION 'export % is % (%); only a failed export whose reason is incomplete can be accepted',
            job, e.state, coalesce(e.failure_reason, '-') USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE bulkhead.exports
       SET state = failed_from, accepted_at = clock_timestamp(), finished_at = NULL,
           failed_from = NULL, failure_stage = NULL, failure_reason = NULL, failure_detail = NULL, failure_remedy = NULL
     WHERE id = job;
    UPDATE bulkhead.stages
       SET state = 'ready', attempt = 0, next_run_at = clock_timestamp(), ticketed_at = NULL, finished_at = NULL
     WHERE export_id = job AND kind = 'finish' AND state = 'dead';
    PERFORM bulkhead.tell(job, 'info', 'its gaps were accepted by an operator');
    RETURN 'accepted';
END $$;

-- Rows, blobs and the export itself go, in chunks, by a worker. A live one is cancelled first.
CREATE FUNCTION bulkhead.delete_export(job uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    e bulkhead.exports;
BEGIN
    SELECT * INTO e FROM bulkhead.exports WHERE id = job FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no export %', job USING ERRCODE = 'no_data_found';
    END IF;
    IF e.state NOT IN ('completed', 'cancelled') THEN
        PERFORM bulkhead.cancel_export(job);
    END IF;
    UPDATE bulkhead.exports SET delete_requested_at = coalesce(delete_requested_at, clock_timestamp()) WHERE id = job;
    UPDATE bulkhead.stages
       SET state = 'ready', next_run_at = clock_timestamp(), ticketed_at = NULL, attempt = 0, finished_at = NULL
     WHERE export_id = job AND kind = 'clean_up' AND state IN ('ready', 'dead');
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
    VALUES (gen_random_uuid(), job, e.source_id, 'clean_up', 'control', 20)
    ON CONFLICT (export_id, kind, coalesce(file_id, 0), coalesce(part_id, 0)) WHERE state IN ('ready', 'running', 'dead') DO NOTHING;
    RETURN 'deleting';
END $$;

CREATE VIEW bulkhead.completed_exports AS
    SELECT e.id AS etl_job_id, s.base_url AS source, e.level, e.group_id, e.resource_types, e.since, e.transaction_time,
           coalesce(p.rows, 0) AS rows, coalesce(p.duplicates, 0) AS duplicates, coalesce(f.files, 0) AS files,
           coalesce(f.bytes, 0) AS bytes, e.accepted_at, e.findings, e.created_at, e.finished_at
      FROM bulkhead.exports e
      JOIN bulkhead.sources s ON s.id = e.source_id
      LEFT JOIN LATERAL (SELECT sum(fp.rows)::bigint AS rows, sum(fp.duplicates)::bigint AS duplicates
                           FROM bulkhead.file_parts fp JOIN bulkhead.export_files ef ON ef.id = fp.file_id
                          WHERE fp.export_id = e.id AND ef.kind = 'output') p ON true
      LEFT JOIN LATERAL (SELECT count(*) AS files, sum(bytes)::bigint AS bytes
                           FROM bulkhead.export_files WHERE export_id = e.id) f ON true
     WHERE e.state = 'completed' AND e.delete_requested_at IS NULL;

CREATE VIEW bulkhead.failed_groups AS
    SELECT e.id AS etl_job_id, s.base_url AS source, e.group_id AS "group", e.failure_stage AS stage,
           e.failure_reason AS reason, e.failure_detail AS detail, e.failure_remedy AS remedy, e.finished_at AS since
      FROM bulkhead.exports e
      JOIN bulkhead.sources s ON s.id = e.source_id
     WHERE e.state = 'failed' AND e.delete_requested_at IS NULL;
