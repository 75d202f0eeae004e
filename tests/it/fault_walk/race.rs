//! Operators against finishing stages, in both orders. The order is made by the queue for the export's lock, which Postgres
//! grants first come, first served.

use bulkhead_tests::{App, rows};
use futures::future::BoxFuture;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::{ExportLock, Row, case, ends_with, start, until_waiting};

const GROUP: &str = "FallonHealth";
const FINISH: &str = "SELECT state FROM bulkhead.exports";

pub fn cases() -> Vec<BoxFuture<'static, Row>> {
    vec![case(cancel(true)), case(cancel(false)), case(delete(true)), case(delete(false)), case(retry(true)), case(retry(false))]
}

/// Queues an operator's call and a load's finish for the export's lock, in the given order, then lets them go. The load has
/// copied its rows and stands before its fenced finish.
async fn queued(app: &App, job: Uuid, tables: PgConnection, operation_first: bool, operation: &'static str) -> sqlx::Result<String> {
    let lock = ExportLock::take(app, job).await;
    let pool = app.pool.clone();
    let call = async move {
        let sql = format!("SELECT bulkhead.{operation}_export($1)");
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(job).fetch_one(&pool).await
    };
    let finish = async |mut tables: PgConnection| {
        sqlx::raw_sql("ROLLBACK").execute(&mut tables).await.expect("the table's lock ends");
        until_waiting(&app.pool, FINISH, 1).await;
    };
    let called = if operation_first {
        let called = tokio::spawn(call);
        until_waiting(&app.pool, "_export($1)", 1).await;
        finish(tables).await;
        called
    } else {
        finish(tables).await;
        let called = tokio::spawn(call);
        until_waiting(&app.pool, "_export($1)", 1).await;
        called
    };
    lock.release().await;
    called.await.expect("the call")
}

/// An export of patients alone, in COPY: its load waits for the lock on the table.
async fn in_copy(app: &App, kinds: &[&str]) -> (Uuid, PgConnection) {
    let mut tables = PgConnection::connect(&app.database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE fhir.patients IN SHARE MODE").execute(&mut tables).await.expect("the lock");
    let mut body = app.body(GROUP);
    body["resource_types"] = json!(kinds);
    let job = app.submit(&body).await;
    until_waiting(&app.pool, "COPY fhir.patients", 1).await;
    (job, tables)
}

fn order(what: &str, operation_first: bool) -> String {
    if operation_first { format!("{what} just before a finishing stage") } else { format!("{what} just after a finishing stage") }
}

async fn cancel(operation_first: bool) -> Row {
    let app = start(false).await;
    let (job, tables) = in_copy(&app, &["Patient"]).await;
    queued(&app, job, tables, operation_first, "cancel").await.expect("it can be cancelled");
    app.until(job, "cancelled").await;
    app.until_sql("SELECT released_at IS NOT NULL FROM bulkhead.exports WHERE id = $1", job).await;
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!((stats.kick_offs, stats.deletes), (1, 1));
    let rows = rows::counts(&app.pool, job).await;
    assert_eq!(rows.is_empty(), operation_first, "a load that finished after the cancel left rows, or one before it lost them: {rows:?}");
    Row { fault: order("cancel", operation_first), stage: "load".to_owned(), recovered: None, kick_offs: stats.kick_offs }
}

async fn delete(operation_first: bool) -> Row {
    let app = start(false).await;
    let (job, tables) = in_copy(&app, &["Patient"]).await;
    queued(&app, job, tables, operation_first, "delete").await.expect("it can be deleted");
    app.until_sql("SELECT $1::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM bulkhead.exports)", job).await;
    app.assert_nothing_left().await;
    assert!(rows::counts(&app.pool, job).await.is_empty(), "rows of a deleted export");
    Row { fault: order("delete", operation_first), stage: "load".to_owned(), recovered: None, kick_offs: app.sandbox.stats().kick_offs }
}

/// The export failed (its other file has expired at the server, and with it all that the server knew of it), and is retried
/// while a load of it finishes. It starts over: whatever that load left is replaced.
async fn retry(operation_first: bool) -> Row {
    let app = start(false).await;
    app.sandbox.fault("file:expired*always@Encounter");
    // The other file fails when the load stands in its COPY, not before: nothing is claimed for a failed export.
    sqlx::raw_sql(
        "CREATE FUNCTION public.later() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
            IF (SELECT resource_type = 'Encounter' FROM bulkhead.export_files WHERE id = NEW.file_id) THEN NEW.next_run_at := now() + interval '1 hour'; END IF;
            RETURN NEW;
         END $$;
         CREATE TRIGGER later BEFORE INSERT ON bulkhead.stages FOR EACH ROW WHEN (NEW.kind = 'download') EXECUTE FUNCTION public.later()",
    )
    .execute(&app.pool)
    .await
    .expect("a trigger");
    let (job, tables) = in_copy(&app, &["Patient", "Encounter"]).await;
    sqlx::raw_sql(
        "DROP TRIGGER later ON bulkhead.stages; UPDATE bulkhead.stages SET next_run_at = now() WHERE kind = 'download' AND state = 'ready'",
    )
    .execute(&app.pool)
    .await
    .expect("the download");
    app.until(job, "failed").await;
    app.sandbox.clear_faults();
    queued(&app, job, tables, operation_first, "retry").await.expect("it can be retried");
    app.until(job, "completed").await;
    ends_with(&app, job, GROUP, &["Patient", "Encounter"], &order("retry", operation_first), "load").await
}
