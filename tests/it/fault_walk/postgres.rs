//! Postgres goes away: crashes, is stopped for half a minute, comes back as it was some time ago.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bulkhead_local::postgres::Shutdown;
use bulkhead_tests::App;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::{Row, case, start};

const GROUP: &str = "HarvardPilgrimHealthCare";

pub fn cases() -> Vec<BoxFuture<'static, Row>> {
    vec![case(immediate()), case(half_a_minute()), case(restored())]
}

async fn in_download() -> (App, Uuid) {
    let app = start(true).await;
    app.sandbox.fault("file:hold=half@Observation");
    let job = app.export(GROUP).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    (app, job)
}

/// `pg_ctl restart -m immediate`: every connection dies, nothing committed is lost.
async fn immediate() -> Row {
    let (mut app, job) = in_download().await;
    let since = Instant::now();
    app.database.server.as_mut().expect("its own").restart(Shutdown::Immediate).await.expect("a restart");
    app.sandbox.release();
    app.until(job, "completed").await;
    let recovered = since.elapsed();
    Row::of(&app, job, GROUP, "Postgres restarted with -m immediate", "download", Some(recovered), 1).await
}

/// Away for 30 s: the download goes on meanwhile and is not done again.
async fn half_a_minute() -> Row {
    let (mut app, job) = in_download().await;
    let files: i64 = sqlx::query_scalar("SELECT count(*) FROM bulkhead.export_files WHERE export_id = $1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("files");
    let server = app.database.server.as_mut().expect("its own");
    server.shut_down(Shutdown::Fast).await.expect("it stops");
    app.sandbox.release();
    // The time is the fault itself, not a wait for luck.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let since = Instant::now();
    app.database.server.as_mut().expect("its own").start_again().await.expect("it starts");
    app.until(job, "completed").await;
    let recovered = since.elapsed();
    // A download that had not yet asked for its file may begin anew; one that had asked goes on, and nothing is asked for twice.
    assert_eq!(i64::try_from(app.sandbox.stats().files_started).ok(), Some(files), "a file was downloaded twice\n{}", app.logs());
    Row::of(&app, job, GROUP, "Postgres gone for 30 s", "download", Some(recovered), 1).await
}

/// The database is restored from a snapshot while a worker that has gone further lives: it must not write by claims that the
/// restored database does not know.
async fn restored() -> Row {
    let (mut app, job) = in_download().await;
    let server = app.database.server.as_mut().expect("its own");
    let data = server.log().parent().expect("a folder").join("postgres");
    let snapshot = data.with_extension("snapshot");
    server.shut_down(Shutdown::Fast).await.expect("it stops");
    copy(&data, &snapshot);
    server.start_again().await.expect("it starts");
    app.sandbox.release();
    app.until_sql("SELECT count(*) > 2 FROM bulkhead.file_parts WHERE export_id = $1 AND state = 'loaded'", job).await;
    let since = Instant::now();
    let server = app.database.server.as_mut().expect("its own");
    server.shut_down(Shutdown::Immediate).await.expect("it stops");
    std::fs::remove_dir_all(&data).expect("the folder goes");
    copy(&snapshot, &data);
    server.start_again().await.expect("it starts");
    app.until(job, "completed").await;
    let recovered = since.elapsed();
    Row::of(&app, job, GROUP, "database restored from a snapshot", "download", Some(recovered), 1).await
}

/// With owners and modes, which Postgres checks.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(done.success());
}
