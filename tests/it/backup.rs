//! A backup that is taken while exports run, and is restored elsewhere: the exports go on from there. As `deploy/OPERATIONS.md` says it.

use std::time::{Duration, Instant};

use bulkhead_shared::db;
use bulkhead_tests::{App, SandboxConfig, Setup, app::PATIENCE, rows};
use sqlx::PgPool;
use tokio::process::Command;
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "BMCHealthNet";

/// Runs one of Postgres' programs.
async fn run(app: &App, program: &str, arguments: &[&str]) {
    let server = app.database.server.as_ref().expect("a server of its own");
    let done = Command::new(server.program(program)).args(arguments).output().await.expect("the program is there");
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

async fn state(pool: &PgPool, job: Uuid) -> String {
    sqlx::query_scalar("SELECT state FROM bulkhead.exports WHERE id = $1").bind(job).fetch_one(pool).await.expect("the export")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_backed_up_in_the_middle_goes_on_where_it_is_restored() {
    let sandbox = SandboxConfig { scale: 0.3, resources_per_file: 100, auth: true, ..setup().sandbox };
    let settings = vec![("WORKER_TRANSFERS", "1".to_owned())];
    let mut app = App::start(Setup { sandbox, settings, own_postgres: true, ..setup() }).await;
    app.sandbox.fault("file:slow=200000*always");
    let job = app.export(GROUP).await;
    app.until_sql("SELECT count(*) FILTER (WHERE state = 'loaded') >= 3 FROM bulkhead.file_parts WHERE export_id = $1", job).await;
    app.workers[0].pause();

    let admin = |name: &str| app.database.server.as_ref().expect("a server of its own").admin_url(name);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("backup").display().to_string();
    run(&app, "pg_dump", &["--format=custom", &format!("--file={file}"), &admin("fhir_analytics")]).await;
    // The rest of the export is lost with the machine: its worker, and the parts that are not loaded.
    app.workers[0].kill();
    std::fs::remove_dir_all(app.blobs()).expect("the blobs");
    std::fs::create_dir(app.blobs()).expect("a folder");

    let url = app.database.server.as_ref().expect("a server of its own").create_database("restored", None).await.expect("a database");
    run(&app, "pg_restore", &["--no-owner", "--role=fhir_user", &format!("--dbname={}", admin("restored")), &file]).await;
    db::migrate(&url).await.expect("what `bulkhead-api migrate` does");
    let restored = db::pool(&url, "bulkhead-test", 2).expect("a pool");
    assert!(!["completed", "failed", "cancelled"].contains(&state(&restored, job).await.as_str()), "the backup is of the middle");

    app.add_worker_with(&[("DATABASE_URL", &url)]);
    let began = Instant::now();
    while state(&restored, job).await != "completed" {
        assert!(began.elapsed() < PATIENCE, "it is {}\n{}", state(&restored, job).await, app.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for kind in app.sandbox.expected(Some(GROUP)).keys() {
        let served = rows::md5_of_ndjson(&restored, &app.sandbox.ndjson(GROUP, kind)).await;
        assert_eq!(rows::md5_of_rows(&restored, job, kind).await, served, "{kind}\n{}", app.logs());
    }
    assert_eq!(app.sandbox.stats().kick_offs, 1, "the server was asked once");
}
