//! The contract of every stage, written once: run twice comes to the same result; killed between its work and its finish
//! comes to the same result; a stale job changes nothing.
//!
//! The barriers are triggers and advisory locks in the test's own database: no product code knows of them.

use std::time::Duration;

use bulkhead_shared::{
    db::exports,
    domain::stage::StageKind,
    queue::{Claim, Fence, FinishError, Ticket, finish},
};
use bulkhead_tests::{App, SandboxConfig, Setup};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "HealthNewEngland";
const GATE: i64 = 4711;

/// These stages are of an export whose server has no $export.
fn is_of_a_search(kind: StageKind) -> bool {
    matches!(kind, StageKind::Members | StageKind::Search)
}

async fn start(kind: StageKind) -> App {
    let retention = ("BULK_DATA_RETENTION", "0".to_owned());
    let switches = if is_of_a_search(kind) { "no-export" } else { "" }.to_owned();
    App::start(Setup {
        sandbox: SandboxConfig { auth: true, resources_per_file: 200, switches, ..setup().sandbox },
        settings: vec![retention],
        workers: 0,
        ..setup()
    })
    .await
}

/// Runs this when a stage of the kind is about to be done for the first time.
async fn when_first_done(app: &App, kind: StageKind, body: &str) {
    let function = format!(
        "CREATE FUNCTION public.when_first_done() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF NEW.runs - NEW.snoozes = 1 THEN {body} END IF; RETURN NEW; END $$"
    );
    let trigger = format!(
        "CREATE TRIGGER when_first_done BEFORE UPDATE ON bulkhead.stages FOR EACH ROW
         WHEN (OLD.state = 'running' AND NEW.state = 'done' AND NEW.kind = '{kind}') EXECUTE FUNCTION public.when_first_done()"
    );
    for sql in [function, trigger] {
        sqlx::query(AssertSqlSafe(sql)).execute(&app.pool).await.expect("the owner may make a trigger");
    }
}

async fn ends_right(app: &App, job: Uuid, kind: StageKind) {
    app.until(job, "completed").await;
    app.assert_rows_right(job, GROUP).await;
    // A server that was searched has nothing to forget.
    app.until_sql(
        "SELECT cleaned_at IS NOT NULL AND (released_at IS NOT NULL OR route = 'search') FROM bulkhead.exports WHERE id = $1",
        job,
    )
    .await;
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!(stats.kick_offs, u64::from(!is_of_a_search(kind)), "{kind}: the server was asked more than once");
    let runs: i32 = sqlx::query_scalar("SELECT max(runs - snoozes) FROM bulkhead.stages WHERE export_id = $1 AND kind = $2")
        .bind(job)
        .bind(kind.as_str())
        .fetch_one(&app.pool)
        .await
        .expect("the stage");
    assert!(runs >= 2, "{kind} did not run twice: the test shows nothing");
    let left: Vec<_> = walk(&app.blobs());
    assert!(left.is_empty(), "blobs are left: {left:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { files.extend(walk(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}

async fn run_twice(kind: StageKind) {
    let mut app = start(kind).await;
    // Done, and delivered once more: as if its acknowledgement had been lost.
    let again = "NEW.state := 'ready'; NEW.worker_id := NULL; NEW.claim_id := NULL; NEW.ticketed_at := NULL;
                 NEW.finished_at := NULL; NEW.attempt := 0; NEW.next_run_at := clock_timestamp();";
    when_first_done(&app, kind, again).await;
    app.add_worker();
    let job = app.export(GROUP).await;
    if kind == StageKind::Finish {
        // Its own export has ended by then, and nothing runs for an ended one: as if only the stage's row had been lost.
        app.until(job, "completed").await;
        sqlx::query("UPDATE bulkhead.exports SET state = 'loading', finished_at = NULL WHERE id = $1")
            .bind(job)
            .execute(&app.pool)
            .await
            .expect("the export");
        // A clean-up that came in between saw a live export, and would look again in a day.
        app.until(job, "completed").await;
        app.sql("UPDATE bulkhead.stages SET next_run_at = now(), ticketed_at = NULL WHERE kind = 'clean_up' AND state = 'ready'").await;
        app.until_sql("SELECT runs >= 2 AND state = 'done' FROM bulkhead.stages WHERE export_id = $1 AND kind = 'finish'", job).await;
        // The clean-up may have met the export alive again, and put itself off for a day.
        sqlx::query("UPDATE bulkhead.stages SET next_run_at = now() WHERE export_id = $1 AND kind = 'clean_up' AND state = 'ready'")
            .bind(job)
            .execute(&app.pool)
            .await
            .expect("the clean-up");
    }
    ends_right(&app, job, kind).await;
}

async fn killed_before_finish(kind: StageKind) {
    let mut app = start(kind).await;
    when_first_done(&app, kind, &format!("PERFORM pg_advisory_xact_lock({GATE});")).await;
    let mut gate = PgConnection::connect(&app.database.url).await.expect("a connection");
    sqlx::query("SELECT pg_advisory_lock($1)").bind(GATE).execute(&mut gate).await.expect("a lock");
    app.add_worker();
    let job = app.export(GROUP).await;
    app.until_sql(
        "SELECT $1::uuid IS NOT NULL AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4711
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
        job,
    )
    .await;
    app.workers[0].kill();
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(GATE).execute(&mut gate).await.expect("the lock");
    app.add_worker();
    ends_right(&app, job, kind).await;
}

/// A ticket for a stage that is done, and a finish under a claim that is not the stage's any more.
async fn stale(kind: StageKind) {
    let mut app = start(kind).await;
    app.add_worker();
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    app.until_sql("SELECT cleaned_at IS NOT NULL FROM bulkhead.exports WHERE id = $1", job).await;
    app.assert_nothing_left().await;
    let before = snapshot(&app).await;
    let (stage_id, source_id): (Uuid, Uuid) =
        sqlx::query_as("SELECT id, source_id FROM bulkhead.stages WHERE export_id = $1 AND kind = $2 AND state = 'done' LIMIT 1")
            .bind(job)
            .bind(kind.as_str())
            .fetch_one(&app.pool)
            .await
            .expect("the stage is done");
    let ticket = serde_json::to_vec(&Ticket { stage_id }).expect("JSON");
    sqlx::query(
        "INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at) VALUES ($1, $2, $3, 'Pending', 0, 1, now())",
    )
    .bind("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    .bind(kind.lane().apalis_queue())
    .bind(ticket)
    .execute(&app.pool)
    .await
    .expect("a ticket");
    if kind != StageKind::Poll {
        app.until_sql("SELECT $1::uuid IS NOT NULL AND status = 'Done' FROM apalis.jobs WHERE id = '01ARZ3NDEKTSV4RRFFQ69G5FAV'", job)
            .await;
    }
    let claim = Claim {
        stage_id,
        claim_id: Uuid::new_v4(),
        worker_id: Uuid::new_v4(),
        export_id: job,
        source_id,
        file_id: None,
        part_id: None,
        kind,
        attempt: 1,
        max_attempts: 5,
        snoozes: 0,
    };
    let fence = Fence { claim, worker_name: "stale".to_owned(), max_attempts: 5 };
    let finished = finish(&app.pool, &fence, Ok(&Spoil), Duration::ZERO).await;
    assert!(matches!(finished, Err(FinishError::Lost)), "{finished:?}");
    let checked = fence.checkpoint(&app.pool, &Spoil).await;
    assert!(matches!(checked, Err(FinishError::Lost)), "{checked:?}");
    assert_eq!(snapshot(&app).await, before, "a stale job changed something");
}

/// Everything that a stale job could change.
async fn snapshot(app: &App) -> String {
    sqlx::query_scalar(
        "SELECT (SELECT json_agg(e ORDER BY id) FROM bulkhead.exports e)::text || (SELECT json_agg(s ORDER BY id) FROM bulkhead.stages s)::text
             || (SELECT json_agg(f ORDER BY id) FROM bulkhead.export_files f)::text || (SELECT json_agg(p ORDER BY id) FROM bulkhead.file_parts p)::text",
    )
    .fetch_one(&app.pool)
    .await
    .expect("rows")
}

/// A tail that would do harm if it were written.
struct Spoil;

#[async_trait::async_trait]
impl bulkhead_shared::queue::Tail for Spoil {
    async fn write(&self, tx: &mut bulkhead_shared::queue::Fenced<'_>) -> sqlx::Result<bulkhead_shared::queue::Written> {
        let id = tx.export_id();
        exports::set_status_url(tx.db(), id, "https://example.org/stale").await?;
        Ok(bulkhead_shared::queue::Written::Done)
    }
}

/// A kick-off that leads to a search is done twice too, and the search is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_kick_off_that_falls_back_twice_comes_to_the_same_result() {
    let mut app = start(StageKind::Members).await;
    let again = "NEW.state := 'ready'; NEW.worker_id := NULL; NEW.claim_id := NULL; NEW.ticketed_at := NULL;
                 NEW.finished_at := NULL; NEW.attempt := 0; NEW.next_run_at := clock_timestamp() + interval '1 s';";
    when_first_done(&app, StageKind::KickOff, again).await;
    // The members are known, and the export does not end, before it runs again.
    app.sandbox.fault("search:hold@Encounter");
    app.add_worker();
    let job = app.export(GROUP).await;
    app.until_sql(
        "SELECT bool_and(state = 'done') AND max(runs) = 2 FROM bulkhead.stages WHERE export_id = $1 AND kind IN ('kick_off', 'members')",
        job,
    )
    .await;
    app.sandbox.release();
    app.until(job, "completed").await;
    app.assert_nothing_left().await;
    app.assert_rows_right(job, GROUP).await;
    app.until_sql("SELECT cleaned_at IS NOT NULL FROM bulkhead.exports WHERE id = $1", job).await;
    let told: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM bulkhead.export_events WHERE export_id = $1 AND (message LIKE '%FHIR search instead%' OR message LIKE '%Searches to make%')",
    )
    .bind(job)
    .fetch_one(&app.pool)
    .await
    .expect("the story");
    assert_eq!(told, 2, "each is said once");
    assert_eq!(app.sandbox.stats().kick_off_requests, 1);
}

macro_rules! contract {
    ($($kind:ident => $name:ident),+ $(,)?) => { $(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn run_twice_comes_to_the_same_result() {
                run_twice(StageKind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn killed_between_work_and_finish_comes_to_the_same_result() {
                killed_before_finish(StageKind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_stale_job_changes_nothing() {
                stale(StageKind::$kind).await;
            }
        } )+

        #[test]
        fn the_contract_covers_every_stage() {
            // Of an export; a check is no part of one, and preflight.rs holds its contract.
            let covered = [$(StageKind::$kind,)+ StageKind::Check];
            assert!(StageKind::ALL.iter().all(|kind| covered.contains(kind)));
        }
    };
}

contract! {
    Auth => auth,
    KickOff => kick_off,
    Poll => poll,
    Members => members,
    Download => download,
    Search => search,
    Load => load,
    Finish => finish_stage,
    Release => release,
    CleanUp => clean_up,
    Summarise => summarise,
}
