//! What each HTTP status means in each phase: the table of the design, walked cell by cell with real workers against the sandbox.

use std::fmt::Write as _;

use bulkhead_tests::{App, SandboxConfig, Setup};
use serde_json::{Value, json};

use crate::setup;

/// How an export ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Completed,
    Failed(&'static str),
}
use End::{Completed, Failed};

/// One cell: what the server answers, and what comes of it.
struct Cell {
    /// The row and column of the table.
    name: &'static str,
    fault: &'static str,
    end: End,
    /// Attempts that failed and were followed by another.
    retries: i64,
    /// Kinds of the findings.
    findings: &'static [&'static str],
}

const fn cell(name: &'static str, fault: &'static str, end: End, retries: i64) -> Cell {
    Cell { name, fault, end, retries, findings: &[] }
}

const fn found(name: &'static str, fault: &'static str, end: End, retries: i64, findings: &'static [&'static str]) -> Cell {
    Cell { name, fault, end, retries, findings }
}

/// Of three attempts.
const CELLS: &[Cell] = &[
    cell("kick-off 200 without Content-Location", "kick-off:status=200", Failed("refused"), 0),
    cell("kick-off 202 without Content-Location", "kick-off:cut-location", Failed("refused"), 0),
    cell("kick-off 202, relative Content-Location", "kick-off:relative-location", Completed, 0),
    cell("kick-off 3xx without Location", "kick-off:status=307", Failed("refused"), 0),
    cell("kick-off 400", "kick-off:status=400;text=No", Failed("refused"), 0),
    cell("kick-off 422", "kick-off:status=422;text=No", Failed("refused"), 0),
    found("kick-off 400 that names a parameter", "kick-off:status=400;text=_since is not supported", Completed, 0, &["parameter_dropped"]),
    found(
        "kick-off 422 that names a parameter",
        "kick-off:status=422;text=Unknown parameter: _since",
        Completed,
        0,
        &["parameter_dropped"],
    ),
    cell("kick-off 400 that names a list", "kick-off:status=400;text=_type may not hold commas", Completed, 0),
    found(
        "kick-off 400 that names a list twice",
        "kick-off:status=400;text=_type is not supported*2",
        Completed,
        0,
        &["left_out", "parameter_dropped"],
    ),
    cell("kick-off 400 that complains of a value", "kick-off:status=400;text=_since must not be in the future", Failed("refused"), 0),
    cell("kick-off 401 once", "kick-off:unauthorized", Completed, 0),
    cell("kick-off 401 again", "kick-off:unauthorized*always", Failed("credentials"), 0),
    cell("kick-off 403", "kick-off:status=403", Failed("forbidden"), 0),
    cell("kick-off 405", "kick-off:status=405", Completed, 0),
    cell("kick-off 406", "kick-off:status=406", Completed, 0),
    cell("kick-off 415", "kick-off:status=415", Completed, 0),
    cell("kick-off 429", "kick-off:status=429;retry-after=1", Completed, 0),
    cell("kick-off 429, HTTP-date", "kick-off:status=429;retry-after-date=1", Completed, 0),
    cell("kick-off 403, too recently", "kick-off:status=403;retry-after=1;text=Client requested this Group too recently", Completed, 0),
    cell("kick-off 408", "kick-off:status=408", Completed, 1),
    cell("kick-off 410", "kick-off:status=410", Failed("refused"), 0),
    found("kick-off 413 once", "kick-off:status=413", Completed, 0, &["split_by_type"]),
    cell("kick-off 500 once", "kick-off:status=500", Completed, 1),
    cell("kick-off 502, a page", "kick-off:html=502", Completed, 1),
    cell("kick-off 503 always", "kick-off:status=503*always", Failed("unreachable"), 2),
    cell("kick-off 504 after the server's yes", "kick-off:status-after=504", Completed, 1),
    cell("kick-off, the connection is cut", "kick-off:drop", Completed, 1),
    cell("status 202", "status:delay=0s", Completed, 0),
    cell("status 200, an empty manifest", "status:empty-manifest", Completed, 0),
    cell("status 3xx without Location", "status:status=307", Failed("server_error"), 0),
    cell("status 400", "status:status=400;text=No", Failed("server_error"), 0),
    cell("status 400, transient", "status:status=400;issue=transient", Completed, 1),
    cell("status 422", "status:status=422;text=No", Failed("server_error"), 0),
    cell("status 401 once", "status:unauthorized", Completed, 0),
    cell("status 401 again", "status:unauthorized*always", Failed("credentials"), 0),
    cell("status 403", "status:status=403", Failed("forbidden"), 0),
    cell("status 404 once", "status:status=404", Completed, 1),
    cell("status 404 again", "status:status=404*always", Failed("expired"), 1),
    cell("status 406", "status:status=406", Completed, 0),
    cell("status 415", "status:status=415", Completed, 0),
    cell("status 408", "status:status=408", Completed, 1),
    cell("status 410", "status:expired", Failed("expired"), 0),
    found("status 413 once", "status:too-many-files", Completed, 0, &["split_by_type"]),
    cell("status 429", "status:status=429;retry-after=1", Completed, 0),
    cell("status 500, transient", "status:status=500;issue=exception", Completed, 1),
    cell("status 500, believed at last", "status:status=500;issue=processing*always", Failed("server_error"), 2),
    cell("status 502, a page", "status:html=502", Completed, 1),
    cell("status 503 always", "status:html=503*always", Failed("unreachable"), 2),
    cell("status, the connection is cut", "status:drop", Completed, 1),
    cell("file 202", "file:status=202", Completed, 1),
    found("file 3xx without Location", "file:status=307", Failed("incomplete"), 0, &["file_failed"]),
    found("file 400", "file:status=400", Failed("incomplete"), 0, &["file_failed"]),
    found("file 422", "file:status=422", Failed("incomplete"), 0, &["file_failed"]),
    cell("file 401 once", "file:unauthorized", Completed, 0),
    cell("file 401 again", "file:unauthorized*always", Failed("credentials"), 0),
    cell("file 403 once", "file:status=403", Completed, 0),
    found("file 403 again", "file:status=403*always", Failed("incomplete"), 0, &["file_failed", "file_failed"]),
    cell("file 404 once", "file:gone=404", Completed, 0),
    found("file 404 always", "file:gone=404*always", Failed("incomplete"), 4, &["file_failed", "file_failed"]),
    cell("file 406", "file:status=406", Completed, 0),
    cell("file 415", "file:status=415", Completed, 0),
    cell("file 408", "file:status=408", Completed, 1),
    cell("file 410 once", "file:expired", Completed, 0),
    cell("file 410 again", "file:expired*always", Failed("expired"), 0),
    cell("file 429", "file:status=429;retry-after=1", Completed, 0),
    cell("file 500 once", "file:status=500", Completed, 1),
    cell("file 502, a page", "file:html=502", Completed, 1),
    cell("file 200, a page", "file:html=200", Completed, 1),
    cell("file 503", "file:status=503;retry-after=1", Completed, 1),
    found("file 500 always", "file:status=500*always@Patient", Failed("incomplete"), 2, &["file_failed"]),
    cell("file, the connection is cut", "file:drop", Completed, 1),
    cell("DELETE 200", "delete:status=200", Completed, 0),
    cell("DELETE 202", "delete:delay=0s", Completed, 0),
    cell("DELETE 3xx without Location", "delete:status=307", Completed, 0),
    cell("DELETE 400", "delete:status=400", Completed, 0),
    cell("DELETE 401", "delete:unauthorized", Completed, 0),
    cell("DELETE 403", "delete:status=403", Completed, 0),
    cell("DELETE 404", "delete:gone=404", Completed, 0),
    cell("DELETE 406", "delete:status=406", Completed, 0),
    cell("DELETE 410", "delete:expired", Completed, 0),
    cell("DELETE 429", "delete:status=429;retry-after=1", Completed, 1),
    cell("DELETE 500 once", "delete:status=500", Completed, 1),
    cell("DELETE 503 always", "delete:status=503*always", Completed, 2),
    cell("token 400 without a reason once", "token:html=400", Completed, 1),
    cell("token 401 once", "token:status=401", Completed, 1),
    cell("token 429", "token:status=429;retry-after=1", Completed, 1),
    cell("token 500 once", "token:status=500", Completed, 1),
    // The stage that the API makes has twenty attempts.
    cell("token 503 always", "token:status=503*always", Failed("unreachable"), 19),
    cell("token, the connection is cut", "token:drop", Completed, 1),
];

const GROUP: &str = "FallonHealth";

async fn start() -> App {
    let sandbox = SandboxConfig { auth: true, export_time: std::time::Duration::ZERO, ..setup().sandbox };
    let settings =
        vec![("RETRY_MAX_ATTEMPTS", "3".to_owned()), ("RETRY_BASE_DELAY", "0.02".to_owned()), ("RETRY_MAX_DELAY", "1".to_owned())];
    App::start(Setup { sandbox, settings, ..setup() }).await
}

/// What came of an export under a fault, in the terms of the table.
async fn walk(app: &App, cell: &Cell) -> Result<(), String> {
    // Nothing that was learned or granted by the cell before.
    app.sql("DELETE FROM bulkhead.access_tokens").await;
    app.sql("DELETE FROM bulkhead.cool_downs").await;
    app.sql("UPDATE bulkhead.sources SET dialect = NULL, slowed_to = NULL, paused_until = 'epoch'").await;
    app.sandbox.clear_faults();
    app.sandbox.fault(cell.fault);
    let mut body = app.body_of(GROUP, &["Patient", "Condition"]);
    body["since"] = json!("2001-01-01T00:00:00Z");
    let job = app.submit(&body).await;
    let wanted = if cell.end == Completed { "completed" } else { "failed" };
    let status = app.until_ended(job).await;
    let mut wrong = String::new();
    if status["status"] != wanted {
        let _ = write!(wrong, " ended {}: {};", status["status"], status["error"]);
    }
    if let Failed(reason) = cell.end
        && status["failure"]["reason"] != reason
    {
        let _ = write!(wrong, " reason {}: {};", status["failure"]["reason"], status["error"]);
    }
    if cell.end == Completed {
        app.until_sql(
            "SELECT count(*) = 0 FROM bulkhead.stages WHERE export_id = $1 AND kind = 'release' AND state IN ('ready', 'running')",
            job,
        )
        .await;
        if !cell.name.contains("empty") {
            app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
        }
    }
    let retries: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM bulkhead.export_events WHERE export_id = $1 AND message ~ 'Attempt \\d+ of \\d+, again in'",
    )
    .bind(job)
    .fetch_one(&app.pool)
    .await
    .expect("a count");
    if retries != cell.retries {
        let _ = write!(wrong, " {retries} retries instead of {};", cell.retries);
    }
    let kinds = kinds(&status);
    if kinds != cell.findings {
        let _ = write!(wrong, " findings {kinds:?};");
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} ({}):{wrong}", cell.name, cell.fault)) }
}

/// Each kind of finding, sorted.
/// The kinds of an export's findings, sorted.
pub fn kinds(status: &Value) -> Vec<&str> {
    let mut kinds: Vec<&str> = status["findings"].as_array().into_iter().flatten().filter_map(|finding| finding["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_means_what_the_table_says() {
    let app = start().await;
    let mut wrong = Vec::new();
    for cell in CELLS {
        if let Err(error) = walk(&app, cell).await {
            wrong.push(error);
        }
    }
    println!("HTTP table: {} cells run, {} right", CELLS.len(), CELLS.len() - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
