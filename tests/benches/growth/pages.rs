//! The list and status pages with a hundred exports, and with a hundred thousand.

use std::time::Instant;

use bulkhead_tests::{
    App, Database, SandboxConfig, Setup,
    bench::{Bench, Goal, Samples},
};
use reqwest::Method;
use uuid::Uuid;

const FEW: usize = 100;
/// Looks a page and run.
const LOOKS: usize = 20;

pub async fn measure(bench: &Bench) {
    let many = bench.size(100_000, 300);
    let sandbox = SandboxConfig { scale: 0.001, ..SandboxConfig::default() };
    let program = env!("CARGO_BIN_EXE_bulkhead-test-worker");
    let app =
        App::start_on(Database::durable().await, Setup { sandbox, workers: 0, settings: Vec::new(), own_postgres: false, program }).await;
    let mut times = Samples::of("milliseconds until a page is there");
    let mut known = 0;
    for exports in [FEW, many] {
        add(&app, exports - known).await;
        known = exports;
        for _ in 0..bench.runs * LOOKS {
            for (name, path) in pages(&app).await {
                let began = Instant::now();
                let (status, body) = app.request(Method::GET, &path, None, &[]).await;
                times.add(format!("{name}, {exports} exports"), began.elapsed().as_secs_f64() * 1e3);
                assert_eq!(status, 200, "{body}");
            }
        }
    }
    times.print();
    for (name, _) in pages(&app).await {
        let (of, to) = (format!("{name}, {many} exports"), format!("{name}, {FEW} exports"));
        times.ratio(&format!("{name}: {many} exports / {FEW}"), &of, &to, Goal::AtMost(3.0, 1.5));
    }
}

async fn pages(app: &App) -> [(&'static str, String); 5] {
    let (job, middle): (Uuid, Uuid) = sqlx::query_as(
        "SELECT (SELECT id FROM bulkhead.exports ORDER BY created_at DESC LIMIT 1),
                (SELECT id FROM bulkhead.exports ORDER BY created_at LIMIT 1)",
    )
    .fetch_one(&app.pool)
    .await
    .expect("exports");
    [
        ("list", "/api/bulk-data/jobs".to_owned()),
        ("list of failed", "/api/bulk-data/jobs?status=failed".to_owned()),
        ("list of a Group that has few", "/api/bulk-data/jobs?group=rare".to_owned()),
        ("status of the newest", format!("/api/bulk-data/status/{job}")),
        ("status of the oldest", format!("/api/bulk-data/status/{middle}")),
    ]
}

/// Ended exports with ten files each, some failed.
async fn add(app: &App, exports: usize) {
    let sql = format!(
        "INSERT INTO bulkhead.sources (id, identity, base_url, auth)
         VALUES ('00000000-0000-0000-0000-000000000001', '', 'http://127.0.0.1:9/fhir', 'open') ON CONFLICT DO NOTHING;
         WITH export AS (
             INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as, state, manifest_pages, manifest_complete, finished_at, created_at,
                                           failed_from, failure_stage, failure_reason, failure_detail, failure_remedy)
             SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000001', 'group', CASE WHEN n % 50 = 1 AND n < 100 THEN 'rare' ELSE 'g' || n % 97 END, '',
                    CASE WHEN bad THEN 'failed' ELSE 'completed' END, 1, true, clock_timestamp(), clock_timestamp(),
                    CASE WHEN bad THEN 'loading' END, CASE WHEN bad THEN 'finish' END, CASE WHEN bad THEN 'incomplete' END,
                    CASE WHEN bad THEN 'x' END, CASE WHEN bad THEN 'x' END
               FROM generate_series(1, {exports}) n, LATERAL (SELECT n % 20 = 0 AS bad) b RETURNING id),
              file AS (
             INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind, resource_type, state, parts, lines)
             SELECT id, n, 'http://127.0.0.1:9/f/' || n, n::text, 'output', 'Patient', 'downloaded', 1, 10 FROM export, generate_series(1, 10) n RETURNING id, export_id)
         INSERT INTO bulkhead.file_parts (export_id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256,
                                          state, ever_loaded, rows, duplicates, rejects, loaded_at)
         SELECT export_id, id, 0, 'x', 0, 10, 0, 10, 10, '', 'loaded', true, 10, 0, 0, clock_timestamp() FROM file;
         ANALYZE bulkhead.exports, bulkhead.export_files, bulkhead.file_parts"
    );
    app.sql(&sql).await;
}
