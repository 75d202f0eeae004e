//! Clients that wait for news of an export: told at once, and cheap while there is none.

use std::time::{Duration, Instant};

use bulkhead_tests::{App, Later, SandboxConfig, Setup, app::PATIENCE};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::setup;

/// What a client notices.
const AT_ONCE: Duration = Duration::from_secs(1);

/// An export that goes on without anybody's doing: there is no worker.
async fn waiting_export(app: &App) -> Uuid {
    let later = Later::start(Duration::from_secs(60)).await;
    later.insert_exports(&app.pool, 1, Duration::ZERO).await[0]
}

async fn cancel(pool: &PgPool, job: Uuid) {
    sqlx::query("SELECT bulkhead.cancel_export($1)").bind(job).execute(pool).await.expect("cancelled");
}

/// The server process of the API's listening connection, another one than `not`.
async fn listener(pool: &PgPool, not: Option<i32>) -> i32 {
    let began = Instant::now();
    loop {
        let pid: Option<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'bulkhead-api-changes' AND state = 'idle' AND query LIKE 'LISTEN%'",
        )
        .fetch_optional(pool)
        .await
        .expect("the activity");
        if let Some(pid) = pid.filter(|pid| Some(*pid) != not) {
            return pid;
        }
        assert!(began.elapsed() < PATIENCE, "nobody listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for an export's next status while something is done to it; says how long after that the answer came.
async fn told_after(app: &App, job: Uuid, change: impl AsyncFnOnce()) -> (Duration, Value) {
    let path = format!("/api/bulk-data/status/{job}");
    let waiting = app.request(Method::GET, &path, None, &[("prefer", "wait=60")]);
    let changing = async {
        change().await;
        Instant::now()
    };
    let (((code, status), answered), changed) = tokio::join!(async { (waiting.await, Instant::now()) }, changing);
    assert_eq!(code, 200, "{status:#}");
    (answered.saturating_duration_since(changed), status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_costs_nothing_until_there_is_news_and_is_told_at_once() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let job = waiting_export(&app).await;
    let looks = async || -> i64 {
        sqlx::query_scalar(
            "SELECT coalesce(idx_scan, 0) + seq_scan FROM pg_stat_user_tables WHERE schemaname = 'bulkhead' AND relname = 'exports'",
        )
        .fetch_one(&app.pool)
        .await
        .expect("statistics")
    };
    let before = looks().await;
    let (after, status) = told_after(&app, job, async || {
        // The quiet is what is tested.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let looked = looks().await - before;
        assert!(looked <= 4, "{looked} looks in eight quiet seconds");
        cancel(&app.pool, job).await;
    })
    .await;
    assert_eq!(status["status"], json!("cancelled"), "{status:#}");
    assert!(after < AT_ONCE, "told after {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_wait_share_one_connection() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let job = waiting_export(&app).await;
    let path = format!("/api/bulk-data/status/{job}");
    let clients = (0..100).map(|_| app.request(Method::GET, &path, None, &[("prefer", "wait=60")]));
    let (answers, sessions) = tokio::join!(futures::future::join_all(clients), async {
        listener(&app.pool, None).await;
        let sessions: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bulkhead-api-changes'",
        )
        .fetch_one(&app.pool)
        .await
        .expect("the activity");
        cancel(&app.pool, job).await;
        sessions
    });
    assert_eq!(sessions, 1);
    assert!(answers.iter().all(|(code, status)| *code == 200 && status["status"] == "cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn news_comes_also_after_the_listening_connection_was_lost() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let job = waiting_export(&app).await;
    let (after, status) = told_after(&app, job, async || {
        let first = listener(&app.pool, None).await;
        sqlx::query("SELECT pg_terminate_backend($1)").bind(first).execute(&app.pool).await.expect("a signal");
        listener(&app.pool, Some(first)).await;
        cancel(&app.pool, job).await;
    })
    .await;
    assert_eq!(status["status"], json!("cancelled"), "{status:#}");
    assert!(after < AT_ONCE, "told after {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_of_its_progress_is_news() {
    let sandbox = SandboxConfig { export_time: Duration::from_secs(600), ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    app.sandbox.fault("status:hold");
    let job = app.export("FallonHealth").await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    let path = format!("/api/bulk-data/status/{job}");
    let http = bulkhead_tests::app::client();
    let seen = http.get(format!("{}{path}", app.api)).send().await.expect("an answer");
    let etag = seen.headers()["etag"].to_str().expect("text").to_owned();
    let headers = [("prefer", "wait=60"), ("if-none-match", &*etag)];
    let ((code, status), released) = tokio::join!(app.request(Method::GET, &path, None, &headers), async {
        listener(&app.pool, None).await;
        app.sandbox.release();
        Instant::now()
    });
    assert_eq!((code, &status["status"]), (200, &json!("in-progress")), "{status:#}");
    assert!(status["progress"].as_str().is_some_and(|progress| progress.contains("% complete")), "{status:#}");
    assert!(released.elapsed() < AT_ONCE, "told after {:?}", released.elapsed());
}
