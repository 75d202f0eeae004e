//! One export after the other into the same table: is the last as fast as the first?

use std::time::{Duration, Instant};

use bulkhead_tests::{
    App, Database, SandboxConfig, Setup,
    bench::{Bench, Goal, Samples, quantile},
};

/// About a million Observations.
const MILLION: &str = "800MB";

#[expect(clippy::cast_precision_loss, reason = "counts")]
pub async fn measure(bench: &Bench) {
    let (size, exports) = if bench.quick { ("1MB", 2) } else { (MILLION, 8) };
    let generated = vec![format!("big=Observation:{size}").parse().expect("a file")];
    let sandbox = SandboxConfig { scale: 0.001, generated, export_time: Duration::ZERO, ..SandboxConfig::default() };
    let settings = vec![("LOG_LEVEL", "warn".to_owned())];
    let program = env!("CARGO_BIN_EXE_bulkhead-test-worker");
    let app = App::start_on(Database::durable().await, Setup { sandbox, workers: 1, settings, own_postgres: false, program }).await;
    let mut rates = Samples::of("rows a second, from kick-off to completed, into one table");
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for n in 1..=exports {
        app.database.checkpoint().await;
        let began = Instant::now();
        let export = app.export("big").await;
        while !app.is(&format!("SELECT state = 'completed' FROM bulkhead.exports WHERE id = '{export}'")).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let rows: i64 = sqlx::query_scalar("SELECT rows FROM completed_exports WHERE etl_job_id = $1")
            .bind(export)
            .fetch_one(&app.pool)
            .await
            .expect("the view");
        let _ = std::fs::remove_dir_all(app.blobs().join(export.to_string()));
        let rate = rows as f64 / seconds;
        rates.add(format!("export {n}, {rows} rows"), rate);
        if n <= exports / 2 { early.push(rate) } else { late.push(rate) }
    }
    rates.print();
    let ratio = quantile(&late, 0.5) / quantile(&early, 0.5);
    println!("  {:<64} {ratio:>10.2} {}", "later half / first half", Goal::AtLeast(0.9, 0.95).verdict(ratio));
}
