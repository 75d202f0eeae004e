//! SIGKILL: of the worker in each stage, and of everything.

use std::time::Instant;

use bulkhead_tests::{App, Setup};
use futures::future::BoxFuture;
use sqlx::{Connection as _, PgConnection};

use super::{ExportLock, KILLED, Row, case, runs_again, start, until_waiting};
use crate::setup;

const GROUP: &str = "NeighborhoodHealthPlan";

pub fn cases() -> Vec<BoxFuture<'static, Row>> {
    vec![
        case(held("token:hold", "auth", 1)),
        case(held("kick-off:hold", "kick_off", 1)),
        // The window that cannot be closed: the server said yes, we had not committed it.
        case(held("kick-off:hold-after", "kick_off", 2)),
        case(held("status:hold", "poll", 1)),
        case(held("file:hold=half@Observation", "download", 1)),
        case(load()),
        case(finish()),
        case(held("delete:hold", "release", 1)),
        case(clean_up()),
        case(everything()),
    ]
}

/// Killed while the server holds its request.
async fn held(fault: &'static str, stage: &'static str, kick_offs: u64) -> Row {
    let mut app = start(false).await;
    app.sandbox.fault(fault);
    let job = app.export(GROUP).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    kill_and_go_on(&mut app, job, stage, kick_offs).await
}

async fn kill_and_go_on(app: &mut App, job: uuid::Uuid, stage: &str, kick_offs: u64) -> Row {
    app.add_worker();
    let since = Instant::now();
    app.workers[0].kill();
    app.sandbox.release();
    let recovered = runs_again(app, job, stage, since).await;
    Row::of(app, job, GROUP, KILLED, stage, Some(recovered), kick_offs).await
}

/// Killed in COPY, which waits for a lock on its table.
async fn load() -> Row {
    let mut app = start(false).await;
    let mut locker = PgConnection::connect(&app.database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE fhir.observations IN SHARE MODE").execute(&mut locker).await.expect("the lock");
    let job = app.export(GROUP).await;
    until_waiting(&app.pool, "COPY fhir.observations", 1).await;
    app.add_worker();
    let since = Instant::now();
    app.workers[0].kill();
    sqlx::raw_sql("ROLLBACK").execute(&mut locker).await.expect("the lock's end");
    let recovered = runs_again(&app, job, "load", since).await;
    Row::of(&app, job, GROUP, KILLED, "load", Some(recovered), 1).await
}

/// Killed while it waits for the export's lock, with everything loaded.
async fn finish() -> Row {
    let mut app = start(false).await;
    // The gate: finish may be claimed, and waits when it ends.
    sqlx::raw_sql(
        "CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
         CREATE TRIGGER gate BEFORE UPDATE ON bulkhead.stages FOR EACH ROW
            WHEN (OLD.state = 'running' AND NEW.state = 'done' AND NEW.kind = 'finish') EXECUTE FUNCTION public.gate()",
    )
    .execute(&app.pool)
    .await
    .expect("a trigger");
    let mut gate = PgConnection::connect(&app.database.url).await.expect("a connection");
    sqlx::raw_sql("SELECT pg_advisory_lock(1)").execute(&mut gate).await.expect("the gate");
    let job = app.export(GROUP).await;
    until_waiting(&app.pool, "UPDATE bulkhead.stages", 1).await;
    app.add_worker();
    let since = Instant::now();
    app.workers[0].kill();
    sqlx::raw_sql("SELECT pg_advisory_unlock(1)").execute(&mut gate).await.expect("the gate opens");
    let recovered = runs_again(&app, job, "finish", since).await;
    Row::of(&app, job, GROUP, KILLED, "finish", Some(recovered), 1).await
}

/// Killed between the removal of the blobs and saying so.
async fn clean_up() -> Row {
    let mut app = App::start(Setup {
        settings: vec![("BULK_DATA_RETENTION", "0.00002".to_owned())],
        sandbox: {
            let mut s = setup().sandbox;
            s.auth = true;
            s
        },
        ..setup()
    })
    .await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    let lock = ExportLock::take(&app, job).await;
    until_waiting(&app.pool, "SELECT state FROM bulkhead.exports", 1).await;
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'clean_up' AND state = 'running')", job)
        .await;
    app.add_worker();
    let since = Instant::now();
    app.workers[0].kill();
    lock.release().await;
    let recovered = runs_again(&app, job, "clean_up", since).await;
    Row::of(&app, job, GROUP, KILLED, "clean_up", Some(recovered), 1).await
}

/// All workers and the API at once, in the middle of downloads.
async fn everything() -> Row {
    let mut app = start(false).await;
    app.add_worker();
    app.sandbox.fault("file:hold=half*2");
    let job = app.export(GROUP).await;
    app.sandbox.wait_until(|stats| stats.held == 2).await;
    let since = Instant::now();
    for worker in &mut app.workers {
        worker.kill();
    }
    app.restart_api().await;
    app.sandbox.release();
    app.add_worker();
    app.add_worker();
    let recovered = runs_again(&app, job, "download", since).await;
    Row::of(&app, job, GROUP, "SIGKILL of all workers and the API", "download", Some(recovered), 1).await
}
