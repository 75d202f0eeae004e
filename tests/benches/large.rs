//! Large files: `cargo bench -p bulkhead-tests --bench large`.
//!
//! The peak memory of one worker with two loads for a file of 10 MB, 200 MB and 2 GB; how long the longest transaction was; and what is
//! repeated when the worker is killed after nine tenths.

use std::time::{Duration, Instant};

use bulkhead_tests::{
    App, Database, SandboxConfig, Setup,
    bench::{Bench, Goal, Samples},
};
use uuid::Uuid;

#[tokio::main]
async fn main() {
    let bench = Bench::start("large: memory, transactions and a kill");
    let sizes: &[&str] = if bench.quick { &["1MB", "12MB"] } else { &["10MB", "200MB", "2GB"] };
    let generated = sizes.iter().map(|size| format!("of{size}=Observation:{size}").parse().expect("a file")).collect();
    let sandbox = SandboxConfig { scale: 0.001, generated, export_time: Duration::ZERO, ..SandboxConfig::default() };
    let settings = vec![("LOG_LEVEL", "warn".to_owned())];
    let program = env!("CARGO_BIN_EXE_bulkhead-test-worker");
    let mut app = App::start_on(Database::durable().await, Setup { sandbox, workers: 0, settings, own_postgres: false, program }).await;

    let mut memory = Samples::of("MiB, peak resident set of the worker");
    let mut longest = Samples::of("seconds, longest transaction of a load");
    let mut rates = Samples::of("MB of NDJSON a second, from kick-off to completed");
    for _ in 0..bench.runs {
        for size in sizes {
            let run = run(&mut app, size).await;
            memory.add(*size, run.mebibytes);
            longest.add(*size, run.longest);
            rates.add(*size, run.rate);
        }
    }
    memory.print();
    let [first, .., last] = sizes else { return };
    memory.ratio(&format!("{last} / {first}"), last, first, Goal::AtMost(1.1, 1.1));
    if let Some(most) = memory.median(last) {
        println!("  {:<64} {most:>10.1} {}", format!("MiB for {last}"), Goal::AtMost(64.0, 64.0).verdict(most));
    }
    longest.print();
    rates.print();
    killed(&mut app, last).await;
}

struct Run {
    mebibytes: f64,
    longest: f64,
    rate: f64,
}

#[expect(clippy::cast_precision_loss, reason = "sizes")]
async fn run(app: &mut App, size: &str) -> Run {
    app.sql("TRUNCATE fhir.observations").await;
    app.database.checkpoint().await;
    let worker = app.add_worker();
    let began = Instant::now();
    let export = app.export(&format!("of{size}")).await;
    let mut longest = 0.0_f64;
    while !app.is(&format!("SELECT state = 'completed' FROM bulkhead.exports WHERE id = '{export}'")).await {
        longest = longest.max(longest_load(app).await);
        assert!(app.workers[worker].is_running(), "{}", app.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let bytes: i64 = sqlx::query_scalar("SELECT sum(bytes)::bigint FROM bulkhead.export_files WHERE export_id = $1")
        .bind(export)
        .fetch_one(&app.pool)
        .await
        .expect("the files");
    let mebibytes = app.workers[worker].peak_rss_kib() as f64 / 1024.0;
    end(app, worker, export).await;
    Run { mebibytes, longest, rate: bytes as f64 / 1e6 / seconds }
}

async fn longest_load(app: &App) -> f64 {
    let sql = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
                 FROM pg_stat_activity WHERE application_name LIKE 'bh:%'";
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.expect("the backends")
}

/// The export's files need not fill the disk.
async fn end(app: &mut App, worker: usize, export: Uuid) {
    app.workers[worker].terminate().await;
    let _ = std::fs::remove_dir_all(app.blobs().join(export.to_string()));
}

/// SIGKILL after nine tenths of the rows: how many loads and downloads began twice.
async fn killed(app: &mut App, size: &str) {
    app.sql("TRUNCATE fhir.observations").await;
    let first = app.add_worker();
    let export = app.export(&format!("of{size}")).await;
    let most = format!(
        "SELECT coalesce(sum(byte_len) FILTER (WHERE state = 'loaded'), 0) > 0.9 * sum(byte_len) FROM bulkhead.file_parts
          WHERE export_id = '{export}' AND EXISTS (SELECT FROM bulkhead.export_files WHERE export_id = '{export}' AND state = 'downloaded')"
    );
    while !app.is(&most).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.workers[first].kill();
    let parts: i64 = count(app, "SELECT count(*) FROM bulkhead.file_parts WHERE export_id = $1", export).await;
    let second = app.add_worker();
    app.until(export, "completed").await;
    let twice =
        count(app, "SELECT coalesce(sum(runs - 1), 0)::bigint FROM bulkhead.stages WHERE export_id = $1 AND kind = 'load'", export).await;
    let again =
        count(app, "SELECT coalesce(sum(runs - 1), 0)::bigint FROM bulkhead.stages WHERE export_id = $1 AND kind = 'download'", export)
            .await;
    let rows = count(app, "SELECT count(*) FROM fhir.observations WHERE etl_job_id = $1", export).await;
    let lines = count(app, "SELECT sum(lines)::bigint FROM bulkhead.export_files WHERE export_id = $1", export).await;
    println!(
        "killed after nine tenths of {size}: of {parts} parts {twice} loaded again (at most the two under way), downloads again: {again}; {rows} rows of {lines} lines"
    );
    assert!(twice <= 2 && again == 0 && rows == lines, "more was repeated, or lost");
    end(app, second, export).await;
}

async fn count(app: &App, sql: &'static str, export: Uuid) -> i64 {
    sqlx::query_scalar(sql).bind(export).fetch_one(&app.pool).await.expect("a count")
}
