//! The page of the queue, and a worker that drains.

use std::time::Duration;

use bulkhead_tests::{App, SandboxConfig, Setup};
use uuid::Uuid;

use crate::{
    data_page::page::pages,
    new_export::{get, post},
    setup,
};

/// The first live worker's id.
async fn worker(app: &App) -> Uuid {
    sqlx::query_scalar("SELECT id FROM bulkhead.workers WHERE ended_at IS NULL ORDER BY started_at LIMIT 1")
        .fetch_one(&app.pool)
        .await
        .expect("a worker")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_it_says_that_exports_wait_and_what_to_do() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let base = pages(&app).await;
    let empty = get(&base, "/queue").await;
    assert!(empty.html.contains("The queue is empty") && empty.html.contains("No worker is alive"), "{}", empty.html);
    let job = app.export("FallonHealth").await;
    let page = get(&base, "/queue").await;
    assert!(page.html.contains("Waits for a free worker") && page.html.contains(&format!("/exports/{job}")), "{}", page.html);
    assert!(page.html.contains("docker-compose up -d worker"), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_who_works_what_waits_for_its_server_and_what_failed() {
    let sandbox = SandboxConfig { export_time: Duration::from_secs(3600), ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let base = pages(&app).await;
    let job = app.export("FallonHealth").await;
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'poll' AND wake_at IS NOT NULL)", job).await;
    let refused = app.export("NoSuchGroup").await;
    app.until(refused, "failed").await;
    let page = get(&base, "/queue").await;
    assert!(page.html.contains("The server is at work"), "{}", page.html);
    assert!(page.html.contains("4 downloads") && page.html.contains(">Alive<"), "{}", page.html);
    let failed = page.html.rsplit("What failed").next().expect("what failed");
    assert!(failed.contains(&format!("/exports/{refused}")), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_finishes_what_it_runs_and_takes_nothing_more_until_it_is_let_go_on() {
    let sandbox = SandboxConfig { export_time: Duration::from_secs(3600), ..setup().sandbox };
    let mut app = App::start(Setup { sandbox, ..setup() }).await;
    let base = pages(&app).await;
    let waiting = app.export("FallonHealth").await;
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'poll' AND wake_at IS NOT NULL)", waiting)
        .await;
    let first = worker(&app).await;
    let answer = post(&base, &format!("/queue/workers/{first}"), &[("drain", "1")]).await;
    assert!(answer.path == "/queue" && answer.html.contains("The worker drains"), "{}", answer.html);

    // What slept in it is handed back, and asked no earlier.
    app.until_sql(
        "SELECT state = 'ready' AND next_run_at > clock_timestamp() FROM bulkhead.stages WHERE export_id = $1 AND kind = 'poll'",
        waiting,
    )
    .await;
    let drained = get(&base, "/queue").await;
    assert!(drained.html.contains(">Drained<") && drained.html.contains("It runs nothing and may be stopped"), "{}", drained.html);
    // Another works; the first touches nothing.
    app.add_worker();
    let other = app.export("MinutemanHealth").await;
    app.until_sql("SELECT state = 'in_progress' FROM bulkhead.exports WHERE id = $1", other).await;
    let worked = format!("SELECT count(*) = 0 FROM bulkhead.stages WHERE worker_id = '{first}' AND state = 'running'");
    assert!(app.is(&worked).await);
    assert!(
        app.is(&format!("SELECT lease_until > clock_timestamp() AND ended_at IS NULL FROM bulkhead.workers WHERE id = '{first}'")).await
    );

    // The second goes; the first is let go on and does the work.
    app.workers[1].kill();
    let resumed = post(&base, &format!("/queue/workers/{first}"), &[]).await;
    assert!(resumed.html.contains("The worker goes on"), "{}", resumed.html);
    let third = app.export("HealthNewEngland").await;
    app.until_sql("SELECT state = 'in_progress' FROM bulkhead.exports WHERE id = $1", third).await;
    let acts: Vec<String> = sqlx::query_scalar("SELECT act FROM bulkhead.audit_log WHERE object_kind = 'worker' ORDER BY id")
        .fetch_all(&app.pool)
        .await
        .expect("the log");
    assert_eq!(acts, ["worker_drained", "worker_resumed"]);
    let gone = post(&base, &format!("/queue/workers/{}", Uuid::new_v4()), &[("drain", "1")]).await;
    assert_eq!(gone.status, 409);
}
