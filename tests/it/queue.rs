//! The queue under load.

use std::time::{Duration, Instant};

use bulkhead_tests::{App, SandboxConfig, Setup};
use uuid::Uuid;

use crate::setup;

#[tokio::test(flavor = "multi_thread")]
async fn a_saturated_worker_keeps_its_lease() {
    let busy = vec![("WORKER_TRANSFERS", "16".to_owned()), ("WORKER_LOADS", "8".to_owned())];
    let sandbox = SandboxConfig { scale: 1.0, resources_per_file: 500, ..SandboxConfig::default() };
    let app = App::start(Setup { sandbox, settings: busy, ..setup() }).await;
    let groups = ["BlueCrossBlueShield", "HealthNewEngland", "TuftsHealthPlan"];
    let mut jobs = Vec::new();
    for group in groups {
        jobs.push(app.export(group).await);
    }
    for (job, group) in jobs.into_iter().zip(groups) {
        app.until(job, "completed").await;
        app.assert_rows_right(job, group).await;
    }
    app.assert_nothing_left().await;
    let (leases, runs, stages): (i64, i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM bulkhead.workers), sum(runs - snoozes)::bigint, count(*) FROM bulkhead.stages WHERE kind <> 'clean_up'")
            .fetch_one(&app.pool)
            .await
            .expect("the queue");
    assert_eq!(leases, 1, "it lost its lease and registered anew\n{}", app.logs());
    assert_eq!(runs, stages, "a stage ran twice");
}

/// 20,000 stages that have nothing to do: what is measured is the queue.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_ready_stages_need_no_more_tickets_than_runs() {
    let mut app = App::start(Setup { workers: 0, ..setup() }).await;
    sqlx::query(
        "WITH source AS (INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES ($1, '', 'http://127.0.0.1:9/fhir', 'open') RETURNING id),
              export AS (INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, finished_at)
                         SELECT gen_random_uuid(), source.id, 'system', '', 'cancelled', now() FROM source, generate_series(1, 20000) RETURNING id, source_id)
         INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
         SELECT gen_random_uuid(), id, source_id, 'release', 'control', 5 FROM export",
    )
    .bind(Uuid::new_v4())
    .execute(&app.pool)
    .await
    .expect("the stages");
    app.add_worker();
    app.add_worker();
    let began = Instant::now();
    loop {
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM bulkhead.stages WHERE state <> 'done'").fetch_one(&app.pool).await.expect("a count");
        if left == 0 {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "{left} stages are left\n{}",
            app.logs().chars().take(5000).collect::<String>()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (runs, tickets, jobs): (i64, i64, i64) =
        sqlx::query_as("SELECT sum(runs)::bigint, sum(tickets)::bigint, (SELECT count(*) FROM apalis.jobs) FROM bulkhead.stages")
            .fetch_one(&app.pool)
            .await
            .expect("the queue");
    println!("20,000 stages in {:.0} s, {tickets} tickets", began.elapsed().as_secs_f64());
    assert_eq!(runs, 20_000);
    assert!(tickets * 10 <= runs * 11 && jobs <= tickets, "{tickets} tickets ({jobs} jobs) for {runs} runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_purged_and_what_lives_stays() {
    let app = App::start(setup()).await;
    let done = app.export("FallonHealth").await;
    app.until(done, "completed").await;
    app.sandbox.fault("kick-off:status=400");
    let failed = app.export("MinutemanHealth").await;
    app.until(failed, "failed").await;
    app.assert_nothing_left().await;
    sqlx::raw_sql(
        "UPDATE apalis.jobs SET done_at = done_at - interval '1 hour';
         UPDATE bulkhead.exports SET purge_at = purge_at - interval '2 days';
         INSERT INTO bulkhead.workers (id, name, version, lease_until, ended_at)
         VALUES (gen_random_uuid(), 'gone', '0', now() - interval '9 days', now() - interval '9 days')",
    )
    .execute(&app.pool)
    .await
    .expect("the past");
    assert!(bulkhead_shared::queue::purge(&app.pool).await.expect("a purge") > 0);
    let (jobs, workers): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM apalis.jobs WHERE status = 'Done'), (SELECT count(*) FROM bulkhead.workers WHERE name = 'gone')",
    )
    .fetch_one(&app.pool)
    .await
    .expect("counts");
    assert_eq!((jobs, workers), (0, 0));
    // Of the completed export its clean-up to come stays; of the failed one everything, for a retry.
    let left: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT export_id, kind FROM bulkhead.stages ORDER BY kind").fetch_all(&app.pool).await.expect("stages");
    let kinds = |job: Uuid| left.iter().filter(|(id, _)| *id == job).map(|(_, kind)| kind.as_str()).collect::<Vec<_>>();
    assert_eq!(kinds(done), ["clean_up"]);
    assert_eq!(kinds(failed), ["auth", "kick_off"]);
    assert_eq!(app.operate(failed, "retry").await.0, 200);
    app.until(failed, "completed").await;
    app.assert_rows_right(failed, "MinutemanHealth").await;
    app.assert_nothing_left().await;
}
