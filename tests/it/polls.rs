//! Exports whose servers say "later".

use std::time::{Duration, Instant};

use bulkhead_tests::{App, Later, Setup, app::PATIENCE};
use sqlx::PgPool;
use uuid::Uuid;

use crate::setup;

async fn idle() -> App {
    App::start(Setup { workers: 0, ..setup() }).await
}

/// Waits until each export's poll is held and asleep.
async fn until_asleep(app: &App, exports: &[Uuid]) {
    let began = Instant::now();
    loop {
        let asleep: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM bulkhead.stages WHERE export_id = ANY($1) AND state = 'running' AND snoozes > 0 AND wake_at IS NOT NULL",
        )
        .bind(exports)
        .fetch_one(&app.pool)
        .await
        .expect("a count");
        if usize::try_from(asleep).ok() == Some(exports.len()) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "only {asleep} are asleep\n{}", app.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Updates of a table so far, and how many of them touched no index.
async fn updates(pool: &PgPool, table: &str) -> (i64, i64) {
    sqlx::query_as("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = 'bulkhead' AND relname = $1")
        .bind(table)
        .fetch_one(pool)
        .await
        .expect("statistics")
}

/// The share of heap-only updates among the next `n` of a table.
async fn heap_only(pool: &PgPool, table: &str, n: i32) -> f64 {
    let (all, hot) = updates(pool, table).await;
    let began = Instant::now();
    loop {
        let (now, hot_now) = updates(pool, table).await;
        if now - all >= i64::from(n) {
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            let share = (hot_now - hot) as f64 / (now - all) as f64;
            return share;
        }
        assert!(began.elapsed() < PATIENCE, "{table} is not updated");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_and_renewing_touch_no_index() {
    let mut app = idle().await;
    let later = Later::start(Duration::from_secs(1)).await;
    let exports = later.insert_exports(&app.pool, 300, Duration::from_secs(1)).await;
    app.add_worker();
    // From here on there is nothing but asking and sleeping.
    later.until_asked(&exports, 2).await;
    let (stages, workers) = tokio::join!(heap_only(&app.pool, "stages", 3000), heap_only(&app.pool, "workers", 5));
    assert!(stages >= 0.95, "only {stages:.3} of the snoozes were heap-only updates");
    assert!(workers >= 0.95, "only {workers:.3} of the renewals were heap-only updates");
    let (runs, snoozes, held): (i64, i64, i64) = sqlx::query_as(
        "SELECT sum(runs)::bigint, sum(snoozes)::bigint, count(*) FILTER (WHERE state = 'running') FROM bulkhead.stages WHERE kind = 'poll'",
    )
    .fetch_one(&app.pool)
    .await
    .expect("the queue");
    assert_eq!(held, 300, "a poll that waits was not kept");
    assert!(runs - snoozes <= 300 && snoozes >= 600, "{runs} runs, {snoozes} snoozes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_sleeping_polls_are_asked_again_by_another_and_not_early() {
    let mut app = idle().await;
    // Longer than it takes to notice that a worker is gone.
    let retry_after = Duration::from_secs(14);
    let later = Later::start(retry_after).await;
    let exports = later.insert_exports(&app.pool, 100, Duration::ZERO).await;
    app.add_worker();
    until_asleep(&app, &exports).await;
    app.workers[0].kill();
    app.add_worker();
    later.until_asked(&exports, 2).await;
    for (export, asks) in later.asks() {
        let waited = asks[1] - asks[0];
        assert!(waited >= retry_after, "{export} was asked again after {waited:?}\n{}", app.logs());
        assert!(waited < retry_after + Duration::from_secs(5), "{export} was asked again only after {waited:?}\n{}", app.logs());
    }
    // They slept: nothing was interrupted that would be worth a sentence, and no attempt was lost.
    until_asleep(&app, &exports).await;
    let (told, attempts): (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM bulkhead.export_events), (SELECT sum(runs - snoozes)::bigint FROM bulkhead.stages)")
            .fetch_one(&app.pool)
            .await
            .expect("counts");
    assert_eq!((told, attempts), (0, 0), "{}", app.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_of_a_worker_that_ends_in_good_order_sleep_on() {
    let mut app = idle().await;
    let retry_after = Duration::from_secs(6);
    let later = Later::start(retry_after).await;
    let exports = later.insert_exports(&app.pool, 50, Duration::ZERO).await;
    app.add_worker();
    until_asleep(&app, &exports).await;
    assert_eq!(app.workers[0].terminate().await, Some(0), "{}", app.logs());
    let kept: bool = sqlx::query_scalar(
        "SELECT bool_and(state = 'ready' AND attempt = 0 AND wake_at IS NULL AND next_run_at > clock_timestamp()) FROM bulkhead.stages",
    )
    .fetch_one(&app.pool)
    .await
    .expect("the stages");
    assert!(kept, "a poll did not sleep on\n{}", app.logs());
    app.add_worker();
    later.until_asked(&exports, 2).await;
    for (export, asks) in later.asks() {
        let waited = asks[1] - asks[0];
        assert!(waited >= retry_after, "{export} was asked again after {waited:?}\n{}", app.logs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_cancelled_while_its_poll_sleeps_is_not_asked_again() {
    let mut app = idle().await;
    let later = Later::start(Duration::from_secs(1)).await;
    let exports = later.insert_exports(&app.pool, 4, Duration::ZERO).await;
    app.add_worker();
    until_asleep(&app, &exports).await;
    let (cancelled, others) = exports.split_first().expect("four");
    let asked = later.asked(*cancelled);
    // Whoever operates it changes rows only; the worker finds out by itself.
    sqlx::query("SELECT bulkhead.cancel_export($1)").bind(cancelled).execute(&app.pool).await.expect("cancelled");
    let so_far = others.iter().map(|export| later.asked(*export)).max().unwrap_or(0);
    later.until_asked(others, so_far + 3).await;
    // A request may have been under way when it was cancelled.
    assert!(later.asked(*cancelled) <= asked + 1, "{}", app.logs());
    let state: String = sqlx::query_scalar("SELECT state FROM bulkhead.stages WHERE export_id = $1 AND kind = 'poll'")
        .bind(cancelled)
        .fetch_one(&app.pool)
        .await
        .expect("the poll");
    assert_eq!(state, "cancelled");
}
