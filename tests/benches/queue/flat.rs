//! The same claims, sweeps and purges without and with a million finished stages.

use std::time::Instant;

use bulkhead_shared::{
    db::{pool, workers},
    domain::stage::Lane,
    queue::{FreeSlots, claim_best, clean_up_failed, purge, sweep},
};
use bulkhead_tests::bench::{Bench, Durable, Goal, Samples};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

/// What is due: 40 sources, each with exports that have stages in every lane; one source runs as much as it may, with 20,000 files waiting.
const LIVE: &str = "
    INSERT INTO bulkhead.sources (id, identity, base_url, auth, max_parallel)
        SELECT id, uuid_send(id), 'http://127.0.0.1:9/fhir', 'open', 100 FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 40)) new;
    INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, manifest_pages, status_url)
        SELECT gen_random_uuid(), id, 'system', '', 'downloading', 1, n::text FROM bulkhead.sources, generate_series(1, 5) AS n;
    INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind)
        SELECT id, n, n::text, n::text, 'output' FROM bulkhead.exports, generate_series(1, 20) AS n;
    INSERT INTO bulkhead.file_parts (export_id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256)
        SELECT export_id, id, 1, '', 0, 1, 1, 1, 1, '' FROM bulkhead.export_files;
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, rank, max_attempts, file_id)
        SELECT gen_random_uuid(), e.id, e.source_id, 'download', 'transfer', f.n, 5, f.id
          FROM bulkhead.exports e JOIN bulkhead.export_files f ON f.export_id = e.id;
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, rank, max_attempts, file_id, part_id)
        SELECT gen_random_uuid(), e.id, e.source_id, 'load', 'load', p.n, 5, p.file_id, p.id
          FROM bulkhead.exports e JOIN bulkhead.file_parts p ON p.export_id = e.id;
    INSERT INTO bulkhead.sources (id, identity, base_url, auth, max_parallel) VALUES (gen_random_uuid(), 'full', 'http://127.0.0.1:9/full', 'open', 1);
    INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, manifest_pages, status_url)
        SELECT gen_random_uuid(), id, 'system', '', 'downloading', 1, 'full' FROM bulkhead.sources WHERE identity = 'full';
    INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind)
        SELECT id, n, n::text, n::text, 'output' FROM bulkhead.exports, generate_series(1, 20000) AS n WHERE status_url = 'full';
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, rank, max_attempts, file_id, state, worker_id, claim_id, started_at)
        SELECT gen_random_uuid(), e.id, e.source_id, 'download', 'transfer', 0, 5, f.id, CASE WHEN f.n = 1 THEN 'running' ELSE 'ready' END,
               CASE WHEN f.n = 1 THEN $1 END, CASE WHEN f.n = 1 THEN gen_random_uuid() END, now()
          FROM bulkhead.exports e JOIN bulkhead.export_files f ON f.export_id = e.id WHERE e.status_url = 'full';
    INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, finished_at)
        SELECT gen_random_uuid(), (SELECT id FROM bulkhead.sources LIMIT 1), 'system', 'released', 'cancelled', now() FROM generate_series(1, 3000);
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
        SELECT gen_random_uuid(), id, source_id, 'release', 'control', 5 FROM bulkhead.exports WHERE same_as = 'released';";

/// What is over: exports that are completed, a few of them failed, each with a clean-up for next week.
const OVER: &str = "
    INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, finished_at, manifest_complete, manifest_pages,
                                  failed_from, failure_stage, failure_reason, failure_remedy, cleaned_at)
        SELECT gen_random_uuid(), (SELECT id FROM bulkhead.sources LIMIT 1), 'system', 'over', s.state, now() - interval '9 days', true, 1,
               s.word, s.word, s.word, s.word, CASE WHEN s.state = 'failed' THEN now() END
          FROM generate_series(1, $1) AS n,
               LATERAL (SELECT CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'completed' END AS state, CASE WHEN n % 20 = 0 THEN 'loading' END AS word) s;
    UPDATE bulkhead.exports SET purge_at = now() + interval '1 day' WHERE same_as = 'over' AND state = 'completed';
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts, state, finished_at)
        SELECT gen_random_uuid(), id, source_id, 'release', 'control', 5, 'done', now() - interval '8 days'
          FROM bulkhead.exports, generate_series(1, 100) WHERE same_as = 'over';
    INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts, next_run_at)
        SELECT gen_random_uuid(), id, source_id, 'clean_up', 'control', 5, now() + interval '7 days' FROM bulkhead.exports WHERE same_as = 'over';";

async fn run(pool: &PgPool, script: &str, argument: &str) {
    sqlx::raw_sql(AssertSqlSafe(script.replace("$1", argument))).execute(pool).await.expect("rows");
}

pub async fn measure(bench: &Bench) {
    let durable = Durable::start().await;
    let admin = pool(&durable.admin_url, "bench", 1).expect("a pool");
    let pool = pool(&durable.url, "bench", 4).expect("a pool");
    let worker = Uuid::now_v7();
    let process = workers::Process { name: "bench".to_owned(), control_slots: 1, transfer_slots: 1, load_slots: 1 };
    workers::register(&pool, worker, &process, false).await.expect("a worker");
    // Nobody renews here: it shall not end.
    sqlx::query("UPDATE bulkhead.workers SET lease_until = now() + interval '1 day'").execute(&pool).await.expect("a lease");
    run(&pool, LIVE, &format!("'{worker}'::uuid")).await;
    let mut samples = Samples::of("milliseconds a call, with finished stages");
    let exports = bench.size(10_000, 20);
    for size in ["none", "many"] {
        if size == "many" {
            run(&pool, OVER, &exports.to_string()).await;
        }
        sqlx::query("VACUUM ANALYZE").execute(&admin).await.expect("a vacuum");
        calls(bench, &pool, worker, size, &mut samples).await;
    }
    println!("many: {} finished stages of {exports} exports", exports * 100);
    samples.print();
    for what in ["claim control", "claim transfer", "claim load", "sweep", "purge of nothing", "purge of 20 exports", "clean_up_failed"] {
        samples.ratio(&format!("{what}: many to none"), &format!("{what}, many"), &format!("{what}, none"), Goal::AtMost(1.5, 1.1));
    }
}

async fn calls(bench: &Bench, pool: &PgPool, worker: Uuid, size: &str, samples: &mut Samples) {
    for (lane, what) in [(Lane::Control, "claim control"), (Lane::Transfer, "claim transfer"), (Lane::Load, "claim load")] {
        for _ in 0..bench.size(400, 10) {
            let began = Instant::now();
            claim_best(pool, worker, lane).await.expect("a claim").expect("something to claim");
            samples.add(format!("{what}, {size}"), began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    for _ in 0..bench.size(30, 2) {
        let began = Instant::now();
        sweep(pool, FreeSlots { control: 4, transfer: 4, load: 4 }, 5).await.expect("a sweep");
        samples.add(format!("sweep, {size}"), began.elapsed().as_secs_f64() * 1000.0);
        let began = Instant::now();
        purge(pool).await.expect("a purge");
        samples.add(format!("purge of nothing, {size}"), began.elapsed().as_secs_f64() * 1000.0);
        let began = Instant::now();
        clean_up_failed(pool, 0.0).await.expect("a clean-up");
        samples.add(format!("clean_up_failed, {size}"), began.elapsed().as_secs_f64() * 1000.0);
    }
    for _ in 0..bench.size(10, 1) {
        sqlx::raw_sql(
            "WITH due AS (INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, finished_at, purge_at)
                          SELECT gen_random_uuid(), (SELECT id FROM bulkhead.sources LIMIT 1), 'system', 'due', 'cancelled', now(), now() - interval '1 day'
                            FROM generate_series(1, 20) RETURNING id, source_id)
             INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts, state, finished_at)
             SELECT gen_random_uuid(), id, source_id, 'release', 'control', 5, 'done', now() FROM due, generate_series(1, 50)",
        )
        .execute(pool)
        .await
        .expect("exports to purge");
        let began = Instant::now();
        purge(pool).await.expect("a purge");
        samples.add(format!("purge of 20 exports, {size}"), began.elapsed().as_secs_f64() * 1000.0);
    }
}
