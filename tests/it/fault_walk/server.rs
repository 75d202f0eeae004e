//! The FHIR server goes away for a while; odd manifests.

use std::time::{Duration, Instant};

use bulkhead_tests::App;
use futures::future::BoxFuture;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{ExportLock, Row, case, ends_with, start, until_waiting};

const GROUP: &str = "MinutemanHealth";

pub fn cases() -> Vec<BoxFuture<'static, Row>> {
    vec![
        case(away("status:hold", "poll")),
        case(away("file:hold=half@Encounter", "download")),
        case(lockstep()),
        case(last_page()),
        case(empty()),
    ]
}

/// Gone in the middle of a request, for five seconds.
async fn away(fault: &'static str, stage: &'static str) -> Row {
    let app = start(false).await;
    app.sandbox.fault(fault);
    let job = app.export(GROUP).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.sandbox.stop().await;
    // The time is the fault itself, not a wait for luck.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let since = Instant::now();
    app.sandbox.start_again().await.expect("the same port");
    app.until(job, "completed").await;
    let recovered = since.elapsed();
    Row::of(&app, job, GROUP, "FHIR server gone for 5 s", stage, Some(recovered), 1).await
}

/// The last two loads end at the same moment: one of them, and only one, adds finish.
async fn lockstep() -> Row {
    let app = start(false).await;
    let mut tables = PgConnection::connect(&app.database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE fhir.patients, fhir.encounters IN SHARE MODE").execute(&mut tables).await.expect("the locks");
    let job = two_files(&app).await;
    until_waiting(&app.pool, "COPY fhir.", 2).await;
    app.until_sql("SELECT state = 'loading' FROM bulkhead.exports WHERE id = $1", job).await;
    let lock = ExportLock::take(&app, job).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut tables).await.expect("the locks' end");
    // Both have copied their rows and want to finish.
    until_waiting(&app.pool, "SELECT state FROM bulkhead.exports", 2).await;
    lock.release().await;
    app.until(job, "completed").await;
    let finishes: i64 = sqlx::query_scalar("SELECT count(*) FROM bulkhead.stages WHERE export_id = $1 AND kind = 'finish'")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("the queue");
    assert_eq!(finishes, 1);
    ends_with(&app, job, GROUP, &["Patient", "Encounter"], "two loads finish in lockstep", "load").await
}

/// Everything is loaded when the manifest's last page comes: poll itself must notice that nothing is left.
async fn last_page() -> Row {
    let app = start(false).await;
    sqlx::raw_sql(
        "CREATE FUNCTION public.later() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
            IF (SELECT manifest_pages > 0 FROM bulkhead.exports WHERE id = NEW.export_id) THEN NEW.next_run_at := now() + interval '1 hour'; END IF;
            RETURN NEW;
         END $$;
         CREATE TRIGGER later BEFORE INSERT ON bulkhead.stages FOR EACH ROW WHEN (NEW.kind = 'poll') EXECUTE FUNCTION public.later()",
    )
    .execute(&app.pool)
    .await
    .expect("a trigger");
    app.sandbox.fault("status:next-pages=2");
    let job = two_files(&app).await;
    app.until_sql(
        "SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'load')
            AND NOT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind IN ('download', 'load') AND state <> 'done')",
        job,
    )
    .await;
    // The first page named the patients; the last one names nothing more.
    app.sandbox.fault("status:empty-manifest");
    sqlx::query("UPDATE bulkhead.stages SET next_run_at = now() WHERE export_id = $1 AND kind = 'poll' AND state = 'ready'")
        .bind(job)
        .execute(&app.pool)
        .await
        .expect("the poll");
    app.until(job, "completed").await;
    ends_with(&app, job, GROUP, &["Patient"], "last page after all files are loaded", "poll").await
}

/// An export of two files, a part each.
async fn two_files(app: &App) -> Uuid {
    let mut body = app.body(GROUP);
    body["resource_types"] = json!(["Patient", "Encounter"]);
    app.submit(&body).await
}

async fn empty() -> Row {
    let app = start(false).await;
    app.sandbox.fault("status:empty-manifest");
    let job = app.export(GROUP).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["records_loaded"], 0);
    assert_eq!(status["files"], serde_json::json!([]));
    app.assert_nothing_left().await;
    Row { fault: "empty manifest".to_owned(), stage: "poll".to_owned(), recovered: None, kick_offs: app.sandbox.stats().kick_offs }
}
