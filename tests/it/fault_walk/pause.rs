//! SIGSTOP past the lease: another worker finishes, then the paused one wakes up and must change nothing.

use std::time::Instant;

use futures::future::BoxFuture;
use sqlx::{Connection as _, PgConnection};

use super::{Row, case, runs_again, start, until_waiting};

const GROUP: &str = "FallonHealth";

pub fn cases() -> Vec<BoxFuture<'static, Row>> {
    vec![case(download()), case(copy())]
}

async fn download() -> Row {
    let mut app = start(false).await;
    app.sandbox.fault("file:hold=half@Condition");
    let job = app.export(GROUP).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.workers[0].pause();
    let since = Instant::now();
    app.add_worker();
    app.sandbox.release();
    let recovered = runs_again(&app, job, "download", since).await;
    app.until(job, "completed").await;
    wake_and_let_it_lose(&mut app).await;
    Row::of(&app, job, GROUP, "SIGSTOP past the lease, then SIGCONT", "download", Some(recovered), 1).await
}

/// Paused with rows copied and not committed: its backend holds their keys until the next claim ends it.
async fn copy() -> Row {
    let mut app = start(false).await;
    sqlx::raw_sql(
        "CREATE SEQUENCE public.seen;
         CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF nextval('public.seen') = 5 THEN PERFORM pg_advisory_xact_lock(2); END IF; RETURN NEW; END $$;
         CREATE TRIGGER gate BEFORE INSERT ON fhir.observations FOR EACH ROW EXECUTE FUNCTION public.gate()",
    )
    .execute(&app.pool)
    .await
    .expect("a trigger");
    let mut gate = PgConnection::connect(&app.database.url).await.expect("a connection");
    sqlx::raw_sql("SELECT pg_advisory_lock(2)").execute(&mut gate).await.expect("the gate");
    let job = app.export(GROUP).await;
    until_waiting(&app.pool, "COPY fhir.observations", 1).await;
    app.workers[0].pause();
    let since = Instant::now();
    sqlx::raw_sql("SELECT pg_advisory_unlock(2)").execute(&mut gate).await.expect("the gate opens");
    app.add_worker();
    let recovered = runs_again(&app, job, "load", since).await;
    app.until(job, "completed").await;
    wake_and_let_it_lose(&mut app).await;
    Row::of(&app, job, GROUP, "SIGSTOP past the lease, then SIGCONT", "COPY", Some(recovered), 1).await
}

/// The paused worker goes on, notices that its lease is over, and starts afresh; it does not die of it.
async fn wake_and_let_it_lose(app: &mut bulkhead_tests::App) {
    app.workers[0].resume();
    let began = Instant::now();
    while !app.workers[0].log().contains("it starts afresh") {
        assert!(began.elapsed().as_secs() < 30, "the paused worker never noticed\n{}", app.logs());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(app.workers[0].is_running());
}
