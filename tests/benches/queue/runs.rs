//! Stages that have nothing to do: what is measured is the queue.

use std::time::{Duration, Instant};

use bulkhead_shared::{
    db::pool,
    domain::stage::StageKind,
    queue::{NewStage, enqueue},
};
use bulkhead_tests::bench::{Bench, Durable, Goal, Samples, quantile};
use sqlx::PgPool;
use uuid::Uuid;

use crate::worker;

/// Ended exports whose release has nothing to release; their stages are not yet there.
async fn exports(pool: &PgPool, n: i32) -> (Uuid, Vec<Uuid>) {
    let source = Uuid::new_v4();
    let exports = sqlx::query_scalar(
        "WITH source AS (INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES ($1, uuid_send($1), 'http://127.0.0.1:9/fhir', 'open') RETURNING id)
         INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, finished_at)
         SELECT gen_random_uuid(), source.id, 'system', '', 'cancelled', now() FROM source, generate_series(1, $2) RETURNING id",
    )
    .bind(source)
    .bind(n)
    .fetch_all(pool)
    .await
    .expect("exports");
    (source, exports)
}

async fn stages(pool: &PgPool, n: i32) {
    let (source, exports) = exports(pool, n).await;
    sqlx::query(
        "INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
         SELECT gen_random_uuid(), id, $1, 'release', 'control', 5 FROM unnest($2::uuid[]) AS id",
    )
    .bind(source)
    .bind(exports)
    .execute(pool)
    .await
    .expect("stages");
}

pub async fn measure(bench: &Bench) {
    let mut samples = Samples::of("stage runs per second");
    let n = i32::try_from(bench.size(5000, 200)).expect("small");
    for _ in 0..bench.runs {
        for workers in [1, 2] {
            let durable = Durable::start().await;
            let pool = pool(&durable.url, "bench", 4).expect("a pool");
            stages(&pool, n).await;
            let running: Vec<_> = (0..workers).map(|n| worker(&durable, n)).collect();
            until_done(&pool, 1).await;
            let began = Instant::now();
            let before = done(&pool).await;
            until_done(&pool, i64::from(n)).await;
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            samples.add(format!("{workers} worker(s)"), (i64::from(n) - before) as f64 / began.elapsed().as_secs_f64());
            drop(running);
        }
    }
    samples.print();
    samples.ratio("two workers to one", "2 worker(s)", "1 worker(s)", Goal::None);

    let durable = Durable::start().await;
    let pool = pool(&durable.url, "bench", 4).expect("a pool");
    let _worker = worker(&durable, 0);
    stages(&pool, 1).await;
    until_done(&pool, 1).await;
    latency(&pool, "idle", bench.size(300, 20)).await;
}

async fn done(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM bulkhead.stages WHERE state = 'done'").fetch_one(pool).await.expect("a count")
}

async fn until_done(pool: &PgPool, n: i64) {
    while done(pool).await < n {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// From the commit that makes a stage ready to its claim, one stage every 50 ms.
pub async fn latency(pool: &PgPool, load: &str, n: usize) {
    let (source, exports) = exports(pool, i32::try_from(n).expect("small")).await;
    for export in &exports {
        let mut tx = pool.begin().await.expect("a transaction");
        enqueue(&mut tx, *export, source, 5, &[NewStage::new(StageKind::Release)]).await.expect("a stage");
        tx.commit().await.expect("a commit");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut waited: Vec<f64> = Vec::new();
    while waited.len() < n {
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited = sqlx::query_scalar(
            "SELECT (extract(epoch FROM started_at - created_at) * 1000)::float8 FROM bulkhead.stages WHERE source_id = $1 AND started_at IS NOT NULL",
        )
        .bind(source)
        .fetch_all(pool)
        .await
        .expect("times");
    }
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&waited, share));
    println!("enqueue to start, {load}: p50 {p50:.1} ms, p99 {p99:.1} ms ({n} stages)");
}
