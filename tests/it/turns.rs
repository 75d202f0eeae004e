//! Who is next: exports take turns, what expires first goes first, and a source at its limit holds up nobody.

use std::time::Duration;

use bulkhead_shared::{
    db::workers,
    domain::{failure::Reason, stage::Lane},
    queue::{Claim, Fence, FreeSlots, StageError, Trouble, adopt, bury_leftovers, claim_best, finish, sweep},
};
use bulkhead_tests::{App, Later, SandboxConfig, Setup};
use sqlx::PgPool;
use uuid::Uuid;

use crate::setup;

async fn source(pool: &PgPool, max_parallel: i32) -> Uuid {
    sqlx::query_scalar(
        "INSERT INTO bulkhead.sources (id, identity, base_url, auth, max_parallel)
         SELECT id, uuid_send(id), 'http://127.0.0.1:9/fhir', 'open', $1 FROM gen_random_uuid() AS id RETURNING id",
    )
    .bind(max_parallel)
    .fetch_one(pool)
    .await
    .expect("a source")
}

/// An export with so many files to download.
async fn downloads(pool: &PgPool, source: Uuid, files: i32, expires_in: f64) -> Uuid {
    sqlx::query_scalar(
        "WITH export AS (INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, manifest_pages, status_url, expires_at)
                         SELECT id, $1, 'system', uuid_send(id), 'downloading', 1, id::text, now() + make_interval(secs => $3)
                           FROM gen_random_uuid() AS id RETURNING id, source_id, expires_at),
              file AS (INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind)
                       SELECT id, n, n::text, n::text, 'output' FROM export, generate_series(1, $2) AS n RETURNING id, export_id, n),
              stage AS (INSERT INTO bulkhead.stages (id, export_id, source_id, file_id, kind, lane, rank, max_attempts, expires_at)
                        SELECT gen_random_uuid(), export.id, export.source_id, file.id, 'download', 'transfer', file.n, 5, export.expires_at
                          FROM export, file)
         SELECT id FROM export",
    )
    .bind(source)
    .bind(files)
    .bind(expires_in)
    .fetch_one(pool)
    .await
    .expect("an export")
}

async fn worker(pool: &PgPool) -> Uuid {
    let id = Uuid::now_v7();
    let process = workers::Process { name: "test".to_owned(), control_slots: 1, transfer_slots: 1, load_slots: 1 };
    workers::register(pool, id, &process, false).await.expect("a worker");
    id
}

async fn claim(pool: &PgPool, worker: Uuid) -> Option<Uuid> {
    claim_best(pool, worker, Lane::Transfer).await.expect("a claim").map(|claim| claim.export_id)
}

/// The stage's work ends its export.
async fn fail(pool: &PgPool, claim: Claim, reason: Reason) {
    let fence = Fence { claim, worker_name: "test".to_owned(), max_attempts: 5 };
    let error = StageError::Fail(Trouble::new(reason, "It is gone.", "Retry."));
    finish(pool, &fence, Err(&error), Duration::ZERO).await.expect("the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_take_turns_and_what_expires_first_goes_first() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let (one, other) = (source(&app.pool, 100).await, source(&app.pool, 100).await);
    let late = downloads(&app.pool, one, 3, 9000.0).await;
    let soon = downloads(&app.pool, one, 3, 300.0).await;
    let middle = downloads(&app.pool, other, 2, 1000.0).await;
    let worker = worker(&app.pool).await;
    let mut order = Vec::new();
    while let Some(export) = claim(&app.pool, worker).await {
        order.push(export);
    }
    assert_eq!(order, [soon, middle, late, soon, middle, late, soon, late]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_at_its_limit_is_stepped_over() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let (slow, quick) = (source(&app.pool, 2).await, source(&app.pool, 100).await);
    let large = downloads(&app.pool, slow, 500, 60.0).await;
    let small = downloads(&app.pool, quick, 3, 9000.0).await;
    let worker = worker(&app.pool).await;
    let mut order = Vec::new();
    while let Some(export) = claim(&app.pool, worker).await {
        order.push(export);
    }
    order.sort_unstable();
    let mut expected = [large, large, small, small, small];
    expected.sort_unstable();
    assert_eq!(order, expected);
    // Nor does it get tickets that nobody could answer.
    let free = FreeSlots { control: 0, transfer: 10, load: 0 };
    sweep(&app.pool, free, 5).await.expect("a sweep");
    let tickets: i64 = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs").fetch_one(&app.pool).await.expect("a count");
    assert_eq!(tickets, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_export_submitted_after_a_large_one_ends_long_before_it() {
    // Very small files: the large export has a hundred of them, and its server is asked for one at a time.
    let sandbox = SandboxConfig { resources_per_file: 10, export_time: Duration::ZERO, ..setup().sandbox };
    let mut app = App::start(Setup { workers: 0, sandbox, ..setup() }).await;
    let large = app.export("BlueCrossBlueShield").await;
    let small = app.export_of("FallonHealth", &["Patient"]).await;
    sqlx::query("UPDATE bulkhead.sources SET max_parallel = 1").execute(&app.pool).await.expect("a limit");
    app.add_worker();
    app.until(small, "completed").await;
    let (files, left): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(*) FILTER (WHERE state = 'pending') FROM bulkhead.export_files WHERE export_id = $1")
            .bind(large)
            .fetch_one(&app.pool)
            .await
            .expect("files");
    assert!(files >= 50, "{files} files are too few to show anything");
    assert!(left * 2 > files, "the small export waited for {} of the {files} files of the large one\n{}", files - left, app.logs());
    app.until(large, "completed").await;
    app.assert_rows_right(large, "BlueCrossBlueShield").await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_export_leaves_is_in_nobodys_way_and_a_retry_brings_it_back() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let source = source(&app.pool, 100).await;
    let export = downloads(&app.pool, source, 3, 300.0).await;
    let worker = worker(&app.pool).await;
    let claimed = claim_best(&app.pool, worker, Lane::Transfer).await.expect("a claim").expect("a download");
    fail(&app.pool, claimed, Reason::Expired).await;
    let states = "SELECT state FROM bulkhead.stages WHERE export_id = $1 AND kind = 'download'";
    let now: Vec<String> = sqlx::query_scalar(states).bind(export).fetch_all(&app.pool).await.expect("states");
    assert_eq!(now, ["dead"; 3]);
    // What ran meanwhile comes back to the queue later.
    app.sql("UPDATE bulkhead.stages SET state = 'ready', finished_at = NULL").await;
    assert_eq!(bury_leftovers(&app.pool).await.expect("a burial"), 3);
    // As if credentials had been the reason: it goes on where it stopped.
    sqlx::raw_sql("UPDATE bulkhead.exports SET failure_reason = 'credentials'").execute(&app.pool).await.expect("a reason");
    assert_eq!(app.operate(export, "retry").await.0, 200);
    let now: Vec<String> = sqlx::query_scalar(states).bind(export).fetch_all(&app.pool).await.expect("states");
    assert_eq!(now, ["ready"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_of_a_server_that_hangs_do_not_keep_those_of_others_from_being_taken() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let hanging = Later::start(Duration::from_secs(60)).await;
    hanging.insert_exports(&app.pool, 300, Duration::ZERO).await;
    let hanging: Uuid = sqlx::query_scalar("SELECT id FROM bulkhead.sources").fetch_one(&app.pool).await.expect("a source");
    let well = Later::start(Duration::from_secs(60)).await;
    well.insert_exports(&app.pool, 3, Duration::ZERO).await;
    let worker = worker(&app.pool).await;
    let taken = adopt(&app.pool, worker, &[hanging], 100).await.expect("claims");
    assert_eq!(taken.len(), 3);
    assert!(taken.iter().all(|claim| claim.source_id != hanging));
    // Who drains takes nothing more, whatever is still on its way.
    workers::set_draining(&app.pool, worker).await.expect("draining");
    assert!(adopt(&app.pool, worker, &[], 100).await.expect("no claims").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_sleeps_when_its_export_fails_is_buried_with_it() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let source = source(&app.pool, 100).await;
    let export = downloads(&app.pool, source, 1, 300.0).await;
    let worker = worker(&app.pool).await;
    sqlx::query(
        "INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, state, claim_id, worker_id, wake_at, max_attempts)
         VALUES (gen_random_uuid(), $1, $2, 'poll', 'poll', 'running', gen_random_uuid(), $3, now() + interval '1 hour', 5)",
    )
    .bind(export)
    .bind(source)
    .bind(worker)
    .execute(&app.pool)
    .await
    .expect("a sleeping poll");
    let claimed = claim_best(&app.pool, worker, Lane::Transfer).await.expect("a claim").expect("a download");
    fail(&app.pool, claimed, Reason::Credentials).await;
    assert!(app.is("SELECT bool_and(state = 'dead' AND worker_id IS NULL) FROM bulkhead.stages").await);
}
