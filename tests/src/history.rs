//! Many exports that ended long ago, by plain SQL: for pages at a hundred thousand of them, and for pictures that look lived in.

use sqlx::{AssertSqlSafe, PgPool};

/// Adds so many, evenly spread over so many days before now. They have files and events, and no resources.
///
/// # Panics
/// If Postgres refuses them.
pub async fn add(pool: &PgPool, exports: usize, days: u32) {
    sqlx::raw_sql(AssertSqlSafe(SQL.replace("{exports}", &exports.to_string()).replace("{days}", &days.to_string())))
        .execute(pool)
        .await
        .expect("SQL");
    // As autovacuum leaves it.
    sqlx::raw_sql("VACUUM ANALYZE bulkhead.exports, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events")
        .execute(pool)
        .await
        .expect("SQL");
}

/// Of ten exports eight are completed; the others failed for one of six reasons, or were cancelled.
const SQL: &str = r"
INSERT INTO bulkhead.sources (id, identity, base_url, auth)
SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, ('history ' || n)::bytea,
       (ARRAY['https://fhir.lakeside.example/r4', 'https://bulk.northhospital.example/fhir', 'https://ehr.cityclinic.example/api/FHIR/R4'])[n], 'open'
  FROM generate_series(1, 3) n ON CONFLICT DO NOTHING;

CREATE TEMP TABLE history AS
SELECT gen_random_uuid() AS id, n, ('00000000-0000-0000-0000-00000000000' || 1 + n % 3)::uuid AS source_id,
       (ARRAY['cardiology', 'diabetes-registry', 'oncology', 'pediatrics', 'emergency', 'research-2031', 'primary-care'])[(1 + n * 31 % 7)::int] AS group_id,
       clock_timestamp() - interval '1 hour' - (n - 1) * ({days} * interval '1 day') / {exports} AS created_at,
       (25 + n * 104729 % 60000 / 90 + n * 131 % 97) * interval '1 second' AS took, (1 + n % 4)::int AS files, 400 + n * 104729 % 60000 AS lines,
       CASE WHEN n * 37 % 50 >= 40 THEN n * 37 % 50 - 39 ELSE 0 END::int AS odd
  FROM generate_series(1::bigint, {exports}) n;

INSERT INTO bulkhead.exports (id, source_id, level, group_id, resource_types, same_as, status_url, state, manifest_pages, manifest_complete,
                              created_at, started_at, finished_at, failed_from, failure_stage, failure_reason, failure_detail, failure_remedy)
SELECT h.id, source_id, 'group', group_id, CASE WHEN n % 3 = 0 THEN '{Patient,Condition,Observation}'::text[] ELSE '{}' END, (source_id || group_id)::bytea,
       CASE WHEN w.failed_from IS DISTINCT FROM 'authenticating' AND w.failed_from IS DISTINCT FROM 'kicking_off' THEN 'https://fhir.lakeside.example/jobs/' || h.id END,
       CASE WHEN odd = 0 THEN 'completed' WHEN w.reason IS NULL THEN 'cancelled' ELSE 'failed' END, 1, true,
       created_at, created_at + interval '1 second', created_at + took, w.failed_from, w.stage, w.reason, w.detail, w.remedy
  FROM history h LEFT JOIN (VALUES
       (1, 'loading', 'finish', 'incomplete', 'Condition: 1 of 4000 lines could not be loaded', 'Look at the findings; retry to read the files again, or accept what is there.'),
       (2, 'loading', 'finish', 'incomplete', 'Observation: the manifest promised 12000 lines, 11988 came', 'Look at the findings; retry to read the files again, or accept what is there.'),
       (3, 'authenticating', 'auth', 'credentials', 'SMART authentication failed: Invalid JWT', 'Check client_id, private key and token_url, then retry.'),
       (4, 'in_progress', 'poll', 'server_error', 'The server answered HTTP 500 while it exported', 'Ask the server''s operator, then retry.'),
       (5, 'downloading', 'download', 'expired', 'The server has forgotten the files: HTTP 410', 'Retry: the export starts over.'),
       (6, 'kicking_off', 'kick_off', 'not_found', 'The server knows no such Group: HTTP 404', 'Check the id of the Group, then export it again.'),
       (7, 'in_progress', 'poll', 'unreachable', 'Timeout exceeded', 'Raise HTTP_TIMEOUT_READ, check the network, then retry.'))
       w (odd, failed_from, stage, reason, detail, remedy) USING (odd);

WITH file AS (
    INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind, resource_type, state, parts, lines, bytes, expected_count)
    SELECT id, i, 'https://fhir.lakeside.example/files/' || i, i::text, 'output',
           (ARRAY['Patient', 'Condition', 'Observation', 'Encounter'])[i], 'downloaded', 1, lines / i, lines / i * 900, lines / i
      FROM history, generate_series(1, files) i WHERE odd <= 2 RETURNING id, export_id, lines, bytes)
INSERT INTO bulkhead.file_parts (export_id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256,
                                 state, ever_loaded, rows, duplicates, rejects, loaded_at)
SELECT f.export_id, f.id, 0, 'x', 0, f.bytes, 0, f.lines, f.lines, '', 'loaded', true, f.lines, 0, 0, h.created_at + h.took
  FROM file f JOIN history h ON h.id = f.export_id;

INSERT INTO bulkhead.export_events (export_id, at, level, stage, message)
SELECT id, created_at, 'info', NULL, 'submitted' FROM history UNION ALL
SELECT id, created_at + took, CASE WHEN odd = 0 THEN 'info' ELSE 'error' END, CASE WHEN odd = 0 THEN 'finish' END,
       CASE WHEN odd = 0 THEN 'completed' ELSE 'it ended otherwise' END FROM history;
DROP TABLE history;
";
