-- Workers of the version before may be at work: all they lock is locked first, at once, so that nothing deadlocks.
LOCK TABLE bulkhead.exports, bulkhead.stages, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events IN ACCESS EXCLUSIVE MODE;

-- A check tries out what an export would need and starts none. It is a row that walks through the same queue; lists and views of exports
-- leave it out.
ALTER TABLE bulkhead.exports
    ADD COLUMN purpose text NOT NULL DEFAULT 'export' CHECK (purpose IN ('export', 'check')),
    -- What the check found.
    ADD COLUMN report  jsonb;
ALTER TABLE bulkhead.exports DROP CONSTRAINT exports_check3;
ALTER TABLE bulkhead.exports
    ADD CONSTRAINT exports_completed_is_complete CHECK (state <> 'completed' OR manifest_complete OR (purpose = 'check' AND report IS NOT NULL));
CREATE INDEX exports_checks ON bulkhead.exports (created_at) WHERE purpose = 'check';

-- One more kind of stage, whatever kinds there are by now. No row that is there can break the wider rule: nothing is scanned.
DO $$
BEGIN
    EXECUTE (SELECT format('ALTER TABLE bulkhead.stages DROP CONSTRAINT stages_kind_check, '
                           'ADD CONSTRAINT stages_kind_check CHECK (%s OR kind = %L) NOT VALID', pg_get_expr(conbin, conrelid), 'check')
               FROM pg_constraint WHERE conrelid = 'bulkhead.stages'::regclass AND conname = 'stages_kind_check');
END $$;

CREATE OR REPLACE VIEW bulkhead.completed_exports AS
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
     WHERE e.state = 'completed' AND e.delete_requested_at IS NULL AND e.purpose = 'export';

CREATE OR REPLACE VIEW bulkhead.failed_groups AS
    SELECT e.id AS etl_job_id, s.base_url AS source, e.group_id AS "group", e.failure_stage AS stage,
           e.failure_reason AS reason, e.failure_detail AS detail, e.failure_remedy AS remedy, e.finished_at AS since
      FROM bulkhead.exports e
      JOIN bulkhead.sources s ON s.id = e.source_id
     WHERE e.state = 'failed' AND e.delete_requested_at IS NULL AND e.purpose = 'export';
