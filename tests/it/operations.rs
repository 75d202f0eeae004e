//! What operators do: cancel, delete, retry, look; stop and start workers, with the right key and the wrong one.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_api::command::health::{self, HealthSettings};
use bulkhead_tests::{App, SandboxConfig, Setup, app::PATIENCE, rows};
use reqwest::Method;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";
const KINDS: [&str; 2] = ["Patient", "Condition"];

async fn start(settings: Vec<(&'static str, String)>) -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, ..setup().sandbox };
    App::start(Setup { sandbox, settings, ..setup() }).await
}

fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { files.extend(blobs(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}

/// Waits until a worker has logged this.
async fn until_logged(app: &App, worker: usize, words: &str) {
    let began = Instant::now();
    while !app.workers[worker].log().contains(words) {
        assert!(began.elapsed() < PATIENCE, "never logged {words:?}\n{}", app.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An export whose patients are loaded and whose conditions are half downloaded; the server holds the rest.
async fn half_downloaded(app: &App) -> Uuid {
    app.sandbox.fault("file:hold=half@Condition");
    let job = app.export_of(GROUP, &KINDS).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.until_sql("SELECT bool_or(state = 'loaded') FROM bulkhead.file_parts WHERE export_id = $1", job).await;
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_export_is_released_cleaned_up_and_adds_no_more_rows() {
    let app = start(vec![("BULK_DATA_RETENTION", "0".to_owned())]).await;
    let job = half_downloaded(&app).await;
    let (code, answer) = app.operate(job, "cancel").await;
    assert_eq!((code, &answer["status"]), (200, &json!("cancelled")), "{answer:#}");
    app.sandbox.wait_until(|stats| stats.deletes == 1).await;
    app.until_sql("SELECT cleaned_at IS NOT NULL FROM bulkhead.exports WHERE id = $1", job).await;
    let rows = rows::counts(&app.pool, job).await;
    // The download goes on for a moment, and must leave nothing behind.
    app.sandbox.release();
    until_logged(&app, 0, "taken over or cancelled meanwhile").await;
    assert_eq!(rows::counts(&app.pool, job).await, rows);
    assert_eq!(app.status(job).await["status"], "cancelled");
    let left = blobs(&app.blobs());
    assert!(left.is_empty(), "blobs are left: {left:?}");
    app.assert_nothing_left().await;
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 409, "{answer:#}");
    assert_eq!(app.sandbox.stats().kick_offs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_export_leaves_no_rows_no_blobs_and_no_trace() {
    let app = start(Vec::new()).await;
    let deleted = app.export_of(GROUP, &KINDS).await;
    let kept = app.export_of("MinutemanHealth", &KINDS).await;
    for job in [deleted, kept] {
        app.until(job, "completed").await;
    }
    assert_eq!(blobs(&app.blobs()).len(), 4);
    let (code, answer) = app.request(Method::DELETE, &format!("/api/bulk-data/jobs/{deleted}"), None, &[]).await;
    assert_eq!(code, 202, "{answer:#}");
    app.until_sql("SELECT NOT EXISTS (SELECT FROM bulkhead.exports WHERE id = $1)", deleted).await;
    assert!(rows::counts(&app.pool, deleted).await.is_empty());
    let (code, problem) = app.request(Method::GET, &format!("/api/bulk-data/status/{deleted}"), None, &[]).await;
    assert_eq!(code, 404, "{problem:#}");
    let left = blobs(&app.blobs());
    assert!(left.len() == 2 && left.iter().all(|blob| blob.display().to_string().contains(&kept.to_string())), "{left:?}");
    app.assert_rows_of(kept, "MinutemanHealth", &KINDS).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_deleted_while_it_downloads_leaves_nothing_here_or_at_the_server() {
    let app = start(Vec::new()).await;
    let job = half_downloaded(&app).await;
    // The server cannot be told at once.
    app.sandbox.fault("delete:status=503");
    let (code, answer) = app.request(Method::DELETE, &format!("/api/bulk-data/jobs/{job}"), None, &[]).await;
    assert_eq!(code, 202, "{answer:#}");
    app.until_sql("SELECT NOT EXISTS (SELECT FROM bulkhead.exports WHERE id = $1)", job).await;
    app.sandbox.release();
    until_logged(&app, 0, "taken over or cancelled meanwhile").await;
    assert!(rows::counts(&app.pool, job).await.is_empty());
    let left = blobs(&app.blobs());
    assert!(left.is_empty(), "blobs are left: {left:?}");
    app.assert_nothing_left().await;
    let remembered: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM bulkhead.orphan_exports WHERE released_at IS NULL)")
        .fetch_one(&app.pool)
        .await
        .expect("the orphans");
    assert!(remembered || app.sandbox.stats().deletes == 1, "the server keeps its export, and nobody knows");
}

/// A statement as an operator types it into psql.
async fn psql(app: &App, sql: String) -> Vec<String> {
    let sql = format!("SELECT to_jsonb(answer)::text FROM ({sql}) answer");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&app.pool).await.expect("a statement")
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_find_retry_and_cancel_exports_in_psql() {
    let app = start(Vec::new()).await;
    app.sandbox.fault("file:malformed-line@Condition");
    let job = app.export_of(GROUP, &KINDS).await;
    app.until(job, "failed").await;
    let failed = psql(&app, r#"SELECT etl_job_id, "group", stage, reason, detail, remedy FROM failed_groups"#.to_owned()).await;
    assert_eq!(failed.len(), 1);
    let failed: serde_json::Value = serde_json::from_str(&failed[0]).expect("JSON");
    assert_eq!(failed["etl_job_id"], json!(job));
    assert_eq!((&failed["group"], &failed["stage"], &failed["reason"]), (&json!(GROUP), &json!("finish"), &json!("incomplete")));
    for (column, words) in [("detail", "could not be loaded"), ("remedy", "Retry it")] {
        assert!(failed[column].as_str().is_some_and(|text| text.contains(words)), "{failed:#}");
    }
    assert!(psql(&app, "SELECT * FROM completed_exports".to_owned()).await.is_empty());

    psql(&app, format!("SELECT retry_export('{job}')")).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &KINDS).await;
    assert!(psql(&app, "SELECT * FROM failed_groups".to_owned()).await.is_empty());
    let completed = psql(&app, "SELECT etl_job_id, group_id, rows, files FROM completed_exports".to_owned()).await;
    let served = app.sandbox.expected(Some(GROUP));
    let expected = json!({"etl_job_id": job, "group_id": GROUP, "rows": served["Patient"] + served["Condition"], "files": 2});
    assert_eq!(completed.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect::<Vec<serde_json::Value>>(), [expected]);
    let patients = psql(&app, format!("SELECT count(*) FROM patients WHERE etl_job_id = '{job}'")).await;
    assert_eq!(patients, [json!({"count": served["Patient"]}).to_string().replace("\":", "\": ")]);

    app.sandbox.fault("status:hold");
    let job = app.export_of("MinutemanHealth", &KINDS).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    psql(&app, format!("SELECT cancel_export('{job}')")).await;
    assert_eq!(app.status(job).await["status"], "cancelled");
    app.sandbox.wait_until(|stats| stats.deletes == 2).await;
    app.sandbox.release();
    assert!(rows::counts(&app.pool, job).await.is_empty());
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_hands_its_download_back_at_no_cost() {
    let mut app = start(vec![("WORKER_GRACE_PERIOD", "1".to_owned())]).await;
    let job = half_downloaded(&app).await;
    let began = Instant::now();
    assert_eq!(app.workers[0].terminate().await, Some(0), "{}", app.logs());
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let handed_back: (String, i32, bool) = sqlx::query_as(
        "SELECT state, attempt, worker_id IS NULL AND next_run_at <= clock_timestamp() FROM bulkhead.stages
          WHERE export_id = $1 AND kind = 'download' AND state <> 'done'",
    )
    .bind(job)
    .fetch_one(&app.pool)
    .await
    .expect("the download");
    assert_eq!(handed_back, ("ready".to_owned(), 0, true));
    let ended: bool =
        sqlx::query_scalar("SELECT bool_and(ended_at IS NOT NULL) FROM bulkhead.workers").fetch_one(&app.pool).await.expect("its lease");
    assert!(ended, "nobody has to wait for its lease to end");
    app.add_worker();
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &KINDS).await;
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_finishes_what_it_can_before_it_stops() {
    let mut app = start(Vec::new()).await;
    let job = half_downloaded(&app).await;
    app.workers[0].signal(rustix::process::Signal::TERM);
    until_logged(&app, 0, "draining").await;
    app.sandbox.release();
    assert_eq!(app.workers[0].exit().await, Some(0));
    let downloads: Vec<String> = sqlx::query_scalar("SELECT state FROM bulkhead.stages WHERE export_id = $1 AND kind = 'download'")
        .bind(job)
        .fetch_all(&app.pool)
        .await
        .expect("the queue");
    assert_eq!(downloads, ["done", "done"], "{}", app.logs());
    app.add_worker();
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &KINDS).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_stops_at_once() {
    let mut app = start(Vec::new()).await;
    until_logged(&app, 0, "the worker runs").await;
    let began = Instant::now();
    assert_eq!(app.workers[0].terminate().await, Some(0), "{}", app.logs());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}\n{}", began.elapsed(), app.logs());
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_secret_key_says_so_and_the_right_one_goes_on() {
    let sandbox = SandboxConfig { auth: true, export_time: Duration::ZERO, ..setup().sandbox };
    let mut app = App::start(Setup { sandbox, workers: 0, ..setup() }).await;
    app.add_worker_with(&[("BULKHEAD_SECRET_KEY", &STANDARD.encode([8; 32]))]);
    let job = app.export_of(GROUP, &KINDS).await;
    let status = app.until(job, "failed").await;
    assert!(status["error"].as_str().is_some_and(|e| e.contains("cannot be opened") && e.contains("this process has key")), "{status:#}");
    assert!(status["remedy"].as_str().is_some_and(|r| r.contains("start the worker with the secret key")), "{status:#}");
    assert_eq!(app.sandbox.stats().kick_offs, 0);
    app.assert_nothing_left().await;
    assert_eq!(app.workers[0].terminate().await, Some(0));
    app.add_worker();
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer:#}");
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &KINDS).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_start_says_why_in_one_sentence() {
    let mut app = App::start(Setup { workers: 0, ..setup() }).await;
    let nowhere = app.blobs().join("a-file");
    std::fs::write(&nowhere, "not a folder").expect("a file");
    for (setting, value, words) in [
        ("BULKHEAD_SECRET_KEY", "", "set BULKHEAD_SECRET_KEY (32 bytes in base64"),
        ("BULKHEAD_SECRET_KEY", "c2hvcnQ=", "must be 32 bytes in base64"),
        ("BULK_DATA_DIR", nowhere.to_str().expect("UTF-8"), "BULK_DATA_DIR"),
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x", "Postgres"),
    ] {
        let n = app.add_worker_with(&[(setting, value)]);
        let code = tokio::time::timeout(Duration::from_secs(30), app.workers[n].exit()).await.expect("it ends by itself");
        let log = app.workers[n].log();
        assert!(code.is_some_and(|code| code != 0), "{log}");
        assert_eq!(log.lines().filter(|line| !line.trim().is_empty()).count(), 1, "{log}");
        assert!(log.contains(words), "{log}");
    }
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_learns_whether_the_api_is_ready() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let listener = app.api.trim_start_matches("http://").parse().expect("an address");
    health::run(&HealthSettings { listen: vec![listener] }).await.expect("it is ready");
    let nobody = HealthSettings { listen: vec!["127.0.0.1:1".parse().expect("an address")] };
    let error = health::run(&nobody).await.expect_err("nobody listens there");
    assert!(error.to_string().contains("127.0.0.1:1 does not answer"), "{error:#}");
}
