//! The eight Groups from the sandbox to rows, against `curl --parallel` of the same files and then psql:
//! `cargo bench -p bulkhead-tests --bench end_to_end`.
//!
//! Bulkhead's side begins with the first POST and ends with the last export `completed`: kick-offs, polls, downloads on disk, loads,
//! counts compared. The other side is told the files' URLs for nothing, and counts nothing; its tables hold the id and the resource.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use bulkhead_sandbox::{GROUPS, TYPES};
use bulkhead_shared::domain::resource::table_of;
use bulkhead_tests::{
    App, Database, SandboxConfig, Setup,
    app::client,
    bench::{Bench, Goal, Samples},
};
use serde_json::Value;

const OURS: &str = "Bulkhead, two workers";
const THEIRS: &str = "curl --parallel, then psql";

#[tokio::main]
async fn main() {
    let bench = Bench::start("end to end: eight Groups from the server to rows");
    let scale = if bench.quick { 0.02 } else { 4.0 };
    let sandbox = SandboxConfig { scale, export_time: Duration::ZERO, ..SandboxConfig::default() };
    let settings = vec![("LOG_LEVEL", "warn".to_owned())];
    let program = env!("CARGO_BIN_EXE_bulkhead-test-worker");
    let app = App::start_on(Database::durable().await, Setup { sandbox, workers: 2, settings, own_postgres: false, program }).await;
    let rows: u64 = app.sandbox.expected(None).values().sum();
    println!("{rows} resources of {} types in {} Groups", TYPES.len(), GROUPS.len());
    let theirs = Theirs::prepare(&app).await;
    let mut seconds = Samples::of("seconds");
    for _ in 0..bench.runs {
        seconds.add(THEIRS, theirs.run(&app).await);
        seconds.add(OURS, ours(&app).await);
    }
    seconds.print();
    seconds.ratio("our time / theirs", OURS, THEIRS, Goal::AtMost(1.0, 0.6));
}

async fn ours(app: &App) -> f64 {
    for kind in TYPES {
        app.sql(&format!("TRUNCATE fhir.{}", table_of(kind))).await;
    }
    app.database.checkpoint().await;
    let began = Instant::now();
    let exports = futures::future::join_all(GROUPS.iter().map(|(group, _, _)| app.export(group))).await;
    futures::future::join_all(exports.iter().map(|export| app.until(*export, "completed"))).await;
    let seconds = began.elapsed().as_secs_f64();
    let loaded: i64 = sqlx::query_scalar("SELECT sum(rows)::bigint FROM completed_exports WHERE etl_job_id = ANY($1)")
        .bind(&exports)
        .fetch_one(&app.pool)
        .await
        .expect("the view");
    let served: u64 = app.sandbox.expected(None).values().sum();
    assert_eq!(loaded.unsigned_abs(), served, "all of it");
    app.assert_nothing_left().await;
    seconds
}

/// What somebody does by hand who has the manifests.
struct Theirs {
    folder: tempfile::TempDir,
    files: Vec<String>,
    /// curl's configuration, psql's commands.
    fetch: String,
    load: String,
}

impl Theirs {
    async fn prepare(app: &App) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut theirs = Self { folder, files: Vec::new(), fetch: String::new(), load: String::new() };
        for kind in TYPES {
            app.sql(&format!(
                "CREATE TABLE public.{} (etl_job_id int, resource jsonb NOT NULL, id text GENERATED ALWAYS AS (resource->>'id') STORED, PRIMARY KEY (id))",
                table_of(kind)
            ))
            .await;
        }
        for (group, _, _) in GROUPS {
            for file in manifest(&format!("{}/Group/{group}", app.sandbox.base_url())).await["output"].as_array().expect("files") {
                let (url, kind) = (file["url"].as_str().expect("a URL"), file["type"].as_str().expect("a type"));
                let path = theirs.folder.path().join(format!("{}.ndjson", theirs.files.len())).display().to_string();
                writeln!(theirs.fetch, "url = \"{url}\"\noutput = \"{path}\"").expect("a string");
                // Control characters that JSON cannot hold: the whole line is one field.
                writeln!(
                    theirs.load,
                    "\\copy public.{} (resource) from '{path}' with (format csv, quote e'\\x01', delimiter e'\\x02')",
                    table_of(kind)
                )
                .expect("a string");
                theirs.files.push(path);
            }
        }
        theirs
    }

    async fn run(&self, app: &App) -> f64 {
        for kind in TYPES {
            app.sql(&format!("TRUNCATE public.{}", table_of(kind))).await;
        }
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
        app.database.checkpoint().await;
        let (config, script) = (self.folder.path().join("curl"), self.folder.path().join("psql"));
        std::fs::write(&config, &self.fetch).expect("a file");
        std::fs::write(&script, &self.load).expect("a file");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--compressed", "--parallel", "--config"]).arg(config);
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &app.database.url, "-f"]).arg(script);
        let began = Instant::now();
        for mut command in [curl, psql] {
            let status = tokio::task::spawn_blocking(move || command.status()).await.expect("a thread").expect("it starts");
            assert!(status.success(), "curl or psql failed");
        }
        began.elapsed().as_secs_f64()
    }
}

/// The manifest of an export of one's own.
async fn manifest(base: &str) -> Value {
    let http = client();
    let begun = http.get(format!("{base}/$export")).header("prefer", "respond-async").send().await.expect("a kick-off");
    let status = begun.headers()["content-location"].to_str().expect("a URL").to_owned();
    let done = http.get(status).send().await.expect("a status");
    assert_eq!(done.status(), 200, "exports are done at once");
    done.json().await.expect("a manifest")
}
