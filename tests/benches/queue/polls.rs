//! 10,000 exports whose server says "ask again in 60 s", and one worker.

use std::time::{Duration, Instant};

use bulkhead_shared::db::pool;
use bulkhead_tests::{
    Later,
    bench::{Bench, Durable, Goal, quantile},
};
use sqlx::PgPool;

use crate::{runs::latency, worker};

/// Commits, updates and heap-only updates so far.
async fn counters(pool: &PgPool) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT xact_commit, n_tup_upd, n_tup_hot_upd FROM pg_stat_database, pg_stat_user_tables
          WHERE datname = current_database() AND schemaname = 'bulkhead' AND relname = 'stages'",
    )
    .fetch_one(pool)
    .await
    .expect("statistics")
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
pub async fn measure(bench: &Bench) {
    let retry_after = Duration::from_secs(bench.size(60, 2) as u64);
    let n = bench.size(10_000, 200);
    let durable = Durable::start().await;
    let pool = pool(&durable.url, "bench", 4).expect("a pool");
    let later = Later::start(retry_after).await;
    later.insert_exports(&pool, i32::try_from(n).expect("small"), retry_after).await;
    let worker = worker(&durable, 0);
    tokio::time::sleep(retry_after + Duration::from_secs(2)).await;
    let (before, began) = (counters(&pool).await, Instant::now());
    let cpu = worker.cpu_seconds();
    tokio::time::sleep(retry_after * 2).await;
    let seconds = began.elapsed().as_secs_f64();
    let after = counters(&pool).await;
    let cpu = (worker.cpu_seconds() - cpu) / seconds * 100.0;
    let mut late: Vec<f64> = Vec::new();
    let mut early = 0;
    for asks in later.asks().values() {
        for pair in asks.windows(2) {
            let waited = pair[1] - pair[0];
            early += usize::from(waited < retry_after);
            late.push(waited.saturating_sub(retry_after).as_secs_f64());
        }
    }
    let asks: usize = later.asks().values().map(Vec::len).sum();
    let forgotten = n - later.asks().values().filter(|asks| asks.len() >= 2).count();
    println!(
        "{n} waiting exports, Retry-After {retry_after:?}, one worker, {seconds:.0} s: {asks} asks, {early} early, {forgotten} forgotten"
    );
    let p99 = quantile(&late, 0.99);
    println!("  lateness: p50 {:.3} s, p99 {p99:.3} s, most {:.3} s", quantile(&late, 0.5), quantile(&late, 1.0));
    println!("  p99 in seconds: {p99:.3} {}", Goal::AtMost(2.0, 0.5).verdict(p99));
    let (commits, updates, hot) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    println!(
        "  {:.0} transactions/s, {:.0} updates of stages/s, {:.1} % of them heap-only, worker: {cpu:.0} % of a core, {} MiB at most",
        commits as f64 / seconds,
        updates as f64 / seconds,
        hot as f64 / updates.max(1) as f64 * 100.0,
        worker.peak_rss_kib() / 1024
    );
    latency(&pool, &format!("with {n} exports waiting"), bench.size(200, 10)).await;
}
