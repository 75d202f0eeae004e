-- What is learned of how a server wants to be asked, and when it may be asked again.

-- Workers of the version before may be at work: all they lock is locked first, at once, so that nothing deadlocks.
LOCK TABLE bulkhead.sources, bulkhead.exports, bulkhead.stages, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events IN ACCESS EXCLUSIVE MODE;

ALTER TABLE bulkhead.sources
    -- How kick-off parameters are sent. NULL: not learned yet. shared/src/domain/source.rs has the words.
    ADD COLUMN dialect text CHECK (dialect IN ('get_comma', 'get_repeat', 'post_comma', 'post_repeat')),
    -- A person said so: it is not learned anew.
    ADD COLUMN dialect_set boolean NOT NULL DEFAULT false;

-- A server that refuses a kick-off for some time ("requested this Group too recently"): nobody asks it for the same before.
CREATE TABLE bulkhead.cool_downs (
    source_id   uuid NOT NULL REFERENCES bulkhead.sources ON DELETE CASCADE,
    -- The path of the operation, such as Group/1/$export; digested, for it may be longer than an index takes.
    operation   text NOT NULL,
    until       timestamptz NOT NULL CHECK (isfinite(until)),
    -- The server's.
    words       text NOT NULL
);
CREATE UNIQUE INDEX cool_downs_operation ON bulkhead.cool_downs (source_id, md5(operation));

ALTER TABLE bulkhead.exports
    -- Prefer: handling=lenient, because the user asked for it.
    ADD COLUMN lenient boolean NOT NULL DEFAULT false,
    -- Parameters the server does not support: left out since.
    ADD COLUMN dropped text[] NOT NULL DEFAULT '{}',
    -- What was found on the way to the files; finish adds it to what it finds itself.
    ADD COLUMN early_findings jsonb NOT NULL DEFAULT '[]',
    -- Too many files for one export: the server is asked once for each of these types, one after the other. NULL: for all at once.
    ADD COLUMN split_types text[],
    -- How many of them it was asked for and has answered.
    ADD COLUMN split_at int NOT NULL DEFAULT 0,
    -- Status URLs of the types before; they are let go when everything is loaded.
    ADD COLUMN earlier_status_urls text[] NOT NULL DEFAULT '{}',
    -- MD5 of each manifest page's URL: a page that comes again closes a circle.
    ADD COLUMN manifest_page_keys uuid[] NOT NULL DEFAULT '{}';

-- The page that lists a file: fetched again when its links are too old. NULL: the status URL.
ALTER TABLE bulkhead.export_files ADD COLUMN manifest_url text;

-- As in 0013; each of an export's status URLs is let go.
CREATE OR REPLACE FUNCTION bulkhead.cancel_export(job uuid) RETURNS text LANGUAGE plpgsql AS $$
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
    IF (e.status_url IS NOT NULL OR cardinality(e.earlier_status_urls) > 0) AND e.released_at IS NULL THEN
        INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
        VALUES (gen_random_uuid(), job, e.source_id, 'release', 'control', 5);
    END IF;
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
    VALUES (gen_random_uuid(), job, e.source_id, 'clean_up', 'control', 20);
    PERFORM bulkhead.let_waiting_start(job, e.waits_for);
    PERFORM bulkhead.tell(job, 'warning', 'cancelled by an operator');
    RETURN 'cancelled';
END $$;
