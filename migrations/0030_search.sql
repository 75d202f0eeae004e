-- A server without $export is read by FHIR search: each search (a type, some patients) is a file without a URL of its own, read page by page.
LOCK TABLE bulkhead.exports, bulkhead.stages, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events IN ACCESS EXCLUSIVE MODE;

ALTER TABLE bulkhead.export_files
    -- What is searched for (shared/src/domain/search.rs); NULL for a file of a manifest.
    ADD COLUMN search jsonb,
    -- Where that stands: the page after the parts that are stored, and what the pages before it said.
    ADD COLUMN cursor jsonb,
    ADD CHECK (cursor IS NULL OR search IS NOT NULL);

-- Two more kinds of stages, whatever kinds there are by now. No row that is there can break the wider rule: nothing is scanned.
DO $$
BEGIN
    EXECUTE (SELECT format('ALTER TABLE bulkhead.stages DROP CONSTRAINT stages_kind_check, '
                           'ADD CONSTRAINT stages_kind_check CHECK (%s OR kind IN (%L, %L)) NOT VALID', pg_get_expr(conbin, conrelid), 'members', 'search')
               FROM pg_constraint WHERE conrelid = 'bulkhead.stages'::regclass AND conname = 'stages_kind_check');
END $$;
-- Only a download had a file and no part.
ALTER TABLE bulkhead.stages
    DROP CONSTRAINT stages_check,
    ADD CONSTRAINT stages_file_check CHECK ((kind IN ('download', 'search')) = (file_id IS NOT NULL AND part_id IS NULL));

-- What fan-in asks: is any download, search or load of this export still to come?
DROP INDEX bulkhead.stages_data_live;
CREATE INDEX stages_data_live ON bulkhead.stages (export_id, kind)
    WHERE kind IN ('download', 'search', 'load') AND state IN ('ready', 'running');

-- As in 0013, and: each of an export's status URLs is let go; an export that starts over does so by $export, and with its first type if it
-- was split. A search with a gap is read again from its first page, one that failed goes on at its page; a Group of which not all could be
-- read is read again.
CREATE OR REPLACE FUNCTION bulkhead.retry_export(job uuid) RETURNS text LANGUAGE plpgsql AS $$
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
        SELECT e.source_id, job, url FROM unnest(array_append(e.earlier_status_urls, e.status_url)) AS url
         WHERE url IS NOT NULL ON CONFLICT DO NOTHING;
        DELETE FROM bulkhead.stages WHERE export_id = job AND kind <> 'auth';
        DELETE FROM bulkhead.export_files WHERE export_id = job;
        UPDATE bulkhead.exports
           SET restarts = restarts + 1, failed_from = 'queued', kick_off_intent_at = NULL, status_url = NULL,
               next_manifest_url = NULL, manifest = NULL, manifest_pages = 0, manifest_complete = false, manifest_page_keys = '{}',
               earlier_status_urls = '{}', dropped = '{}', split_types = NULL, split_at = 0, early_findings = '[]', transaction_time = NULL, expires_at = NULL, route = 'bulk'
         WHERE id = job;
        UPDATE bulkhead.stages SET state = 'dead' WHERE export_id = job AND kind = 'auth';
    ELSE
        -- A file with a gap is read again; parts that come out the same keep their rows.
        WITH gaps AS (
            UPDATE bulkhead.export_files f
               SET state = 'pending', error = NULL, cursor = CASE WHEN f.state = 'failed' THEN f.cursor END
             WHERE f.export_id = job AND (f.state = 'failed'
                OR (f.expected_count IS NOT NULL AND f.state = 'downloaded' AND f.lines <> f.expected_count)
                OR jsonb_path_exists(f.cursor, '$.seen ? (@.empty_matches > 0 || @.strangers > 0 || (@.repeated > 0 && @.total == null)
                                                       || @.outcomes[*].severity == "error" || @.outcomes[*].severity == "fatal")')
                OR EXISTS (SELECT FROM bulkhead.file_parts p WHERE p.file_id = f.id AND (p.rejects > 0 OR p.state = 'lost')))
            RETURNING f.id)
        UPDATE bulkhead.stages s SET state = 'dead'
          FROM gaps WHERE s.export_id = job AND s.file_id = gaps.id AND s.kind IN ('download', 'search') AND s.state = 'done';
        IF jsonb_path_exists(e.early_findings, '$[*] ? (@.severity == "error" && (@.kind == "members_left_out" || @.kind == "type_not_searched"
                                                                                 || @.kind == "list_not_applied"))') THEN
            UPDATE bulkhead.stages SET state = 'dead' WHERE export_id = job AND kind = 'members' AND state = 'done';
            IF FOUND THEN
                UPDATE bulkhead.exports
                   SET manifest_complete = false, failed_from = 'downloading',
                       early_findings = jsonb_path_query_array(early_findings, '$[*] ? (@.kind != "members_left_out" && @.kind != "type_not_searched"
                                                                                     && @.kind != "filter_not_applied")')
                 WHERE id = job;
            END IF;
        END IF;
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
