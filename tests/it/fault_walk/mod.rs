//! The fault walk: with exports under way, everything that can die dies, at the worst moment. Each row ends with exactly the right
//! rows, nothing left over, and the server asked once. The table is printed: `cargo test -p bulkhead-tests fault_walk -- --nocapture`.

mod kill;
mod pause;
mod postgres;
mod race;
mod server;

use std::{
    fmt::Write as _,
    future::Future,
    time::{Duration, Instant},
};

use bulkhead_tests::{App, Setup, rows};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::setup;

/// The fault whose recovery is timed.
pub const KILLED: &str = "SIGKILL of its worker";

/// A line of the table.
pub struct Row {
    fault: String,
    stage: String,
    /// From the fault to the stage running again.
    recovered: Option<Duration>,
    kick_offs: u64,
}

impl Row {
    /// Checks that an export ended right, and says how long its recovery took.
    pub async fn of(app: &App, job: Uuid, group: &str, fault: &str, stage: &str, recovered: Option<Duration>, kick_offs: u64) -> Self {
        app.until(job, "completed").await;
        app.assert_rows_right(job, group).await;
        app.assert_nothing_left().await;
        let asked = app.sandbox.stats().kick_offs;
        assert!((1..=kick_offs).contains(&asked), "{fault} in {stage}: the server was asked {asked} times");
        Self { fault: fault.to_owned(), stage: stage.to_owned(), recovered, kick_offs: asked }
    }
}

fn case<F: Future<Output = Row> + Send + 'static>(case: F) -> BoxFuture<'static, Row> {
    case.boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fault_walk() {
    let mut cases: Vec<BoxFuture<'static, Row>> = Vec::new();
    cases.extend(kill::cases());
    cases.extend(pause::cases());
    cases.extend(postgres::cases());
    cases.extend(server::cases());
    cases.extend(race::cases());
    let expected = cases.len();
    // Three at a time: most of their time is waiting for leases to end. One that fails does not stop the others.
    let ended: Vec<Result<Row, _>> = futures::stream::iter(cases).map(tokio::spawn).buffered(3).collect().await;
    let rows: Vec<&Row> = ended.iter().flatten().collect();
    let table = table(&rows);
    println!("{table}");
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/fault-walk.txt"), table).expect("the table is kept");
    assert_eq!(rows.len(), expected, "some cases did not hold; their panics are above");
}

fn table(rows: &[&Row]) -> String {
    let mut table = format!("{:<44} {:<10} {:>10} {:>6} {:>10}\n", "fault", "stage", "seconds", "rows", "kick-offs");
    let mut killed = Vec::new();
    for row in rows {
        let seconds = row.recovered.map_or_else(|| "-".to_owned(), |d| format!("{:.1}", d.as_secs_f64()));
        let _ = writeln!(table, "{:<44} {:<10} {seconds:>10} {:>6} {:>10}", row.fault, row.stage, "right", row.kick_offs);
        if row.fault == KILLED {
            killed.extend(row.recovered.map(|d| d.as_secs_f64()));
        }
    }
    killed.sort_by(f64::total_cmp);
    if let (Some(median), Some(longest)) = (killed.get(killed.len() / 2), killed.last()) {
        let _ = writeln!(table, "SIGKILL to the stage running again: median {median:.1} s, longest {longest:.1} s");
    }
    table
}

/// One worker, files small enough that several parts are under way.
pub async fn start(own_postgres: bool) -> App {
    let mut sandbox = setup().sandbox;
    sandbox.auth = true;
    sandbox.resources_per_file = 150;
    App::start(Setup { sandbox, own_postgres, ..setup() }).await
}

/// Checks an export of some types only.
pub async fn ends_with(app: &App, job: Uuid, group: &str, kinds: &[&str], fault: &str, stage: &str) -> Row {
    let served = app.sandbox.expected(Some(group));
    let loaded = app.status(job).await["records_loaded"].as_u64();
    assert_eq!(loaded, Some(kinds.iter().map(|kind| served[*kind]).sum()));
    for kind in kinds {
        let rows = rows::md5_of_rows(&app.pool, job, kind).await;
        assert_eq!(rows, rows::md5_of_ndjson(&app.pool, &app.sandbox.ndjson(group, kind)).await);
    }
    app.assert_nothing_left().await;
    Row { fault: fault.to_owned(), stage: stage.to_owned(), recovered: None, kick_offs: app.sandbox.stats().kick_offs }
}

/// Waits until a stage of this kind has begun again, and says how long that took.
pub async fn runs_again(app: &App, job: Uuid, kind: &str, since: Instant) -> Duration {
    loop {
        let again: bool =
            sqlx::query_scalar("SELECT coalesce(max(runs) >= 2, false) FROM bulkhead.stages WHERE export_id = $1 AND kind = $2")
                .bind(job)
                .bind(kind)
                .fetch_one(&app.pool)
                .await
                .unwrap_or(false);
        if again {
            return since.elapsed();
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{kind} never ran again\n{}", app.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Holds an export's row: whoever wants to finish one of its stages waits.
pub struct ExportLock(PgConnection);

impl ExportLock {
    pub async fn take(app: &App, job: Uuid) -> Self {
        let mut db = PgConnection::connect(&app.database.url).await.expect("a connection");
        sqlx::query("BEGIN").execute(&mut db).await.expect("a transaction");
        sqlx::query("SELECT id FROM bulkhead.exports WHERE id = $1 FOR UPDATE").bind(job).execute(&mut db).await.expect("the lock");
        Self(db)
    }

    pub async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.expect("the lock's end");
    }
}

/// Waits until so many sessions of this database wait for a lock while they run such a statement.
pub async fn until_waiting(pool: &PgPool, statement: &str, sessions: i64) {
    let began = Instant::now();
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'",
        )
        .bind(statement)
        .fetch_one(pool)
        .await
        .expect("the activity");
        if waiting >= sessions {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{sessions} sessions never waited in {statement:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
