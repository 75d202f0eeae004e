//! Bulkhead: parts that a real worker has downloaded are loaded by a real worker.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bulkhead_shared::queue::{FreeSlots, sweep};
use bulkhead_tests::{
    App, Database, SandboxConfig, Setup, Worker,
    bench::{data, processor_seconds},
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::Shape;

/// Where the resources come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The sandbox makes them up.
    Generated,
    /// Synthea's own, with new ids.
    Real,
}

/// A downloaded export whose loads wait for a word.
pub struct Ours {
    pub app: App,
    pub export_id: Uuid,
    /// The file as it was downloaded.
    pub ndjson: PathBuf,
    table: &'static str,
    /// The worker with one load at once, and the one with two: only one of the two is awake.
    streams: [usize; 2],
    _folder: TempDir,
}

impl Ours {
    /// `None` where there is no such data.
    pub async fn start(shape: Shape, input: Input, bytes: usize, program: &'static str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let kind = shape.resource_type();
        let mut sandbox =
            SandboxConfig { resources_per_file: usize::MAX, export_time: Duration::ZERO, scale: 0.001, ..SandboxConfig::default() };
        match input {
            Input::Generated => sandbox.generated.push(format!("bench={kind}:{bytes}").parse().expect("a file")),
            Input::Real => {
                data::write_real(&folder.path().join(format!("{kind}.ndjson")), kind, bytes)?;
                sandbox.data.push(("bench".to_owned(), folder.path().to_owned()));
            }
        }
        let settings = vec![("LOG_LEVEL", "warn".to_owned())];
        let setup = Setup { sandbox, workers: 0, settings, own_postgres: false, program };
        let mut app = App::start_on(Database::durable().await, setup).await;
        hold_loads(&app).await;
        let streams = [app.add_worker_with(&[("WORKER_LOADS", "1")]), app.add_worker_with(&[("WORKER_LOADS", "2")])];
        let export_id = app.export_of("bench", &[kind]).await;
        app.until_sql(
            "SELECT bool_and(state = 'downloaded') FROM bulkhead.export_files WHERE export_id = $1 HAVING count(*) > 0",
            export_id,
        )
        .await;
        // So that the export never ends, and can be loaded again and again.
        app.sql("UPDATE bulkhead.exports SET manifest_complete = false").await;
        for worker in streams {
            app.workers[worker].pause();
        }
        let ndjson = folder.path().join("downloaded.ndjson");
        join_parts(&app, &ndjson).await;
        Some(Self { app, export_id, ndjson, table: shape.table(), streams, _folder: folder })
    }

    pub async fn run(&self, streams: usize) -> Run {
        let app = &self.app;
        let worker = &app.workers[self.streams[streams - 1]];
        app.sql(&format!("TRUNCATE fhir.{}", self.table)).await;
        app.sql(
            "UPDATE bulkhead.file_parts
                SET state = 'stored', ever_loaded = false, loaded_at = NULL, rows = NULL, duplicates = NULL, rejects = NULL;
             UPDATE bulkhead.stages SET state = 'ready', attempt = 0, runs = 0, worker_id = NULL, claim_id = NULL, finished_at = NULL,
                    ticketed_at = NULL, next_run_at = 'infinity' WHERE kind = 'load'",
        )
        .await;
        worker.resume();
        // It was away for longer than its lease: it registers anew, and sweeps once, before it takes work.
        app.until_sql(
            "SELECT count(*) >= 1 FROM bulkhead.workers WHERE ended_at IS NULL AND lease_until > clock_timestamp() + interval '5 s' AND $1 IS NOT NULL",
            self.export_id,
        )
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        app.database.checkpoint().await;
        let before = self.processor_seconds(worker).await;
        let began = Instant::now();
        app.sql("UPDATE bulkhead.stages SET next_run_at = clock_timestamp() WHERE kind = 'load'").await;
        let slots = FreeSlots { load: i64::try_from(streams).expect("few"), ..FreeSlots::default() };
        sweep(&app.pool, slots, 10).await.expect("tickets");
        while !app.is("SELECT bool_and(state = 'loaded') FROM bulkhead.file_parts").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let after = self.processor_seconds(worker).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        worker.pause();
        Run { seconds, backends: after.0 - before.0, worker: after.1 - before.1 }
    }

    /// Of the loads' backends, which outlive their loads, and of the worker.
    async fn processor_seconds(&self, worker: &Worker) -> (f64, f64) {
        let backends: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'bh:%'")
            .fetch_all(&self.app.pool)
            .await
            .expect("the backends");
        let backends = backends.into_iter().map(|pid| processor_seconds(pid.unsigned_abs())).sum();
        (backends, processor_seconds(worker.id()))
    }
}

/// What one run took.
pub struct Run {
    /// From the word to the last commit.
    pub seconds: f64,
    /// Processor seconds of the loads' backends, and of the worker.
    pub backends: f64,
    pub worker: f64,
}

/// The parts, one after the other, are the file.
async fn join_parts(app: &App, path: &Path) {
    let keys: Vec<String> =
        sqlx::query_scalar("SELECT blob_key FROM bulkhead.file_parts ORDER BY n").fetch_all(&app.pool).await.expect("the parts");
    let mut file = std::fs::File::create(path).expect("a file");
    for key in keys {
        let mut part = std::fs::File::open(app.blobs().join(key)).expect("a part");
        std::io::copy(&mut part, &mut file).expect("room on the disk");
    }
}

/// Loads come when they are told to.
async fn hold_loads(app: &App) {
    app.sql(
        "CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.next_run_at := 'infinity'; RETURN NEW; END $$;
         CREATE TRIGGER hold BEFORE INSERT ON bulkhead.stages FOR EACH ROW WHEN (NEW.kind = 'load') EXECUTE FUNCTION public.hold()",
    )
    .await;
}
