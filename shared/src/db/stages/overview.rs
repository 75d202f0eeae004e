//! The queue as people look at it.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// How much there is to do of one kind.
#[derive(Debug)]
pub struct Depth {
    pub kind: String,
    /// Could run now.
    pub ready: i64,
    pub running: i64,
    /// Waits for its time, for its server, or for another export.
    pub sleeping: i64,
    /// Has failed with its export.
    pub dead: i64,
    /// Since when the oldest of what is ready could run.
    pub oldest: Option<DateTime<Utc>>,
}

/// By kind. Finished stages are not looked at, however many there are.
pub async fn depth(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Depth>> {
    sqlx::query_as!(
        Depth,
        r#"SELECT s.kind,
                  count(*) FILTER (WHERE s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND e.waits_for IS NULL) AS "ready!",
                  count(*) FILTER (WHERE s.state = 'running' AND s.wake_at IS NULL) AS "running!",
                  count(*) FILTER (WHERE s.wake_at IS NOT NULL OR (s.state = 'ready'
                      AND (s.next_run_at > statement_timestamp() OR e.waits_for IS NOT NULL))) AS "sleeping!",
                  count(*) FILTER (WHERE s.state = 'dead') AS "dead!",
                  min(s.next_run_at) FILTER (WHERE s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND e.waits_for IS NULL) AS oldest
             FROM bulkhead.stages s JOIN bulkhead.exports e ON e.id = s.export_id
            WHERE s.state IN ('ready', 'running', 'dead')
            GROUP BY s.kind"#
    )
    .fetch_all(db)
    .await
}

/// A stage that a worker runs now.
#[derive(Debug)]
pub struct Running {
    pub worker_id: Uuid,
    pub export_id: Uuid,
    pub purpose: String,
    pub level: String,
    pub group_id: Option<String>,
    pub kind: String,
    pub attempt: i32,
    pub started_at: Option<DateTime<Utc>>,
}

/// The longest first.
pub async fn running(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<Running>> {
    sqlx::query_as!(
        Running,
        r#"SELECT s.worker_id AS "worker_id!", s.export_id, e.purpose, e.level, e.group_id, s.kind, s.attempt, s.started_at
             FROM bulkhead.stages s JOIN bulkhead.exports e ON e.id = s.export_id
            WHERE s.state = 'running' AND s.wake_at IS NULL ORDER BY s.started_at LIMIT $1"#,
        limit
    )
    .fetch_all(db)
    .await
}

/// A stage that waits, and what it may wait for.
#[derive(Debug)]
pub struct Waiting {
    pub export_id: Uuid,
    pub level: String,
    pub group_id: Option<String>,
    pub kind: String,
    pub attempt: i32,
    pub waits_for: Option<Uuid>,
    /// When it may run; in the past: it could run now.
    pub until: DateTime<Utc>,
    /// What its server or we said last.
    pub progress: Option<String>,
    pub error: Option<String>,
    /// Its source is left alone until then.
    pub paused_until: Option<DateTime<Utc>>,
    /// Its source has as many downloads as it may have.
    pub at_limit: bool,
}

/// One of each export and kind, the soonest first. What follows an export's end waits for days, and is left out.
pub async fn waiting(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"SELECT w.export_id AS "export_id!", w.level AS "level!", w.group_id, w.kind AS "kind!", w.attempt AS "attempt!", w.waits_for,
                  w.until AS "until!", w.progress, w.error,
                  CASE WHEN w.lane = 'transfer' AND o.paused_until > statement_timestamp() THEN o.paused_until END AS paused_until,
                  (w.lane = 'transfer' AND bulkhead.free_transfers(o.id) <= 0) AS "at_limit!"
             FROM (SELECT DISTINCT ON (s.export_id, s.kind) s.export_id, s.source_id, s.lane, e.level, e.group_id, s.kind, s.attempt, e.waits_for,
                          coalesce(s.wake_at, s.next_run_at) AS until, s.progress, s.error
                     FROM bulkhead.stages s JOIN bulkhead.exports e ON e.id = s.export_id
                    WHERE s.state IN ('ready', 'running', 'dead') AND (s.state = 'ready' OR s.wake_at IS NOT NULL)
                      AND s.kind NOT IN ('release', 'clean_up', 'summarise')
                    ORDER BY s.export_id, s.kind, coalesce(s.wake_at, s.next_run_at)) w
             JOIN bulkhead.sources o ON o.id = w.source_id
            ORDER BY w.until LIMIT $1"#,
        limit
    )
    .fetch_all(db)
    .await
}

/// A stage that failed with its export.
#[derive(Debug)]
pub struct Dead {
    pub export_id: Uuid,
    pub level: String,
    pub group_id: Option<String>,
    pub kind: String,
    pub attempt: i32,
    pub error: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The newest first, one of each export and kind.
pub async fn dead(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<Dead>> {
    sqlx::query_as!(
        Dead,
        r#"SELECT d.export_id AS "export_id!", d.level AS "level!", d.group_id, d.kind AS "kind!", d.attempt AS "attempt!", d.error, d.finished_at
             FROM (SELECT DISTINCT ON (s.export_id, s.kind) s.export_id, e.level, e.group_id, s.kind, s.attempt, s.error,
                          coalesce(s.finished_at, e.finished_at) AS finished_at
                     FROM bulkhead.stages s JOIN bulkhead.exports e ON e.id = s.export_id
                    WHERE s.state = 'dead' AND e.delete_requested_at IS NULL
                    ORDER BY s.export_id, s.kind, s.finished_at DESC) d
            ORDER BY d.finished_at DESC NULLS LAST LIMIT $1"#,
        limit
    )
    .fetch_all(db)
    .await
}
