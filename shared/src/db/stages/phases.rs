//! When an export's stages were at work, and what they do now.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, postgres::types::PgInterval};
use uuid::Uuid;

/// All stages of one kind.
#[derive(Debug)]
pub struct Phase {
    pub kind: String,
    /// When the first of them was there to be run.
    pub began_at: DateTime<Utc>,
    /// When the last of them ended, while none is to come.
    pub ended_at: Option<DateTime<Utc>>,
    pub stages: i64,
    pub runs: i64,
    pub snoozes: i64,
    /// When any of them was at work: the beginnings and the ends of these spans, in order.
    pub busy_from: Vec<DateTime<Utc>>,
    pub busy_to: Vec<DateTime<Utc>>,
}

/// An export's phases, seen in cells of this length; also of stages that are purged.
pub async fn phases(db: impl PgExecutor<'_>, export_id: Uuid, cell: PgInterval) -> sqlx::Result<Vec<Phase>> {
    sqlx::query_as!(
        Phase,
        r#"WITH one AS (SELECT kind, began_at, ended_at, stages, 0::bigint AS live, runs, snoozes, busy FROM bulkhead.export_phases WHERE export_id = $1
                        UNION ALL
                        SELECT kind, began_at, ended_at, stages, live, runs, snoozes, busy FROM bulkhead.phases_of_stages($1, $2)),
                whole AS (SELECT kind, min(began_at) AS began_at, CASE WHEN sum(live) = 0 THEN max(ended_at) END AS ended_at,
                                 sum(stages)::bigint AS stages, sum(runs)::bigint AS runs, sum(snoozes)::bigint AS snoozes
                            FROM one GROUP BY kind)
           SELECT kind AS "kind!", began_at AS "began_at!", ended_at, stages AS "stages!", runs AS "runs!", snoozes AS "snoozes!",
                  array(SELECT lower(span) FROM unnest(busy) AS span) AS "busy_from!", array(SELECT upper(span) FROM unnest(busy) AS span) AS "busy_to!"
             FROM whole LEFT JOIN LATERAL (SELECT range_agg(span) AS busy FROM one, unnest(one.busy) AS span WHERE one.kind = whole.kind) spans ON true
            ORDER BY began_at"#,
        export_id,
        cell
    )
    .fetch_all(db)
    .await
}

/// A stage that is to come or at work.
#[derive(Debug)]
pub struct AtWork {
    pub kind: String,
    /// A worker has it; a poll that sleeps has one too.
    pub is_running: bool,
    /// Its file's number and type.
    pub file: Option<i32>,
    pub resource_type: Option<String>,
    pub worker: Option<String>,
    pub attempt: i32,
    pub max_attempts: i32,
    /// Since when it runs.
    pub started_at: Option<DateTime<Utc>>,
    /// When it will be run next, where it waits.
    pub waits_until: Option<DateTime<Utc>>,
    /// What the server said of its progress, or why it waits.
    pub progress: Option<String>,
    /// What went wrong the last time.
    pub error: Option<String>,
}

/// What an export does now: what is at work, then what comes next; a few of them.
pub async fn at_work(db: impl PgExecutor<'_>, export_id: Uuid, limit: i64) -> sqlx::Result<Vec<AtWork>> {
    sqlx::query_as!(
        AtWork,
        r#"SELECT s.kind, s.state = 'running' AS "is_running!", f.n AS "file?", f.resource_type, w.name AS "worker?", s.attempt, s.max_attempts,
                  CASE WHEN s.state = 'running' AND s.wake_at IS NULL THEN s.started_at END AS started_at,
                  CASE WHEN s.state = 'running' THEN s.wake_at WHEN s.next_run_at > clock_timestamp() THEN s.next_run_at END AS waits_until,
                  s.progress, s.error
             FROM bulkhead.stages s
             LEFT JOIN bulkhead.export_files f ON f.id = s.file_id LEFT JOIN bulkhead.workers w ON w.id = s.worker_id
            WHERE s.export_id = $1 AND s.state IN ('ready', 'running') AND s.kind NOT IN ('release', 'clean_up', 'summarise')
            ORDER BY s.state = 'running' DESC, s.rank, s.next_run_at LIMIT $2"#,
        export_id,
        limit
    )
    .fetch_all(db)
    .await
}

/// The attempt that a file's download or search is at.
#[derive(Debug)]
pub struct OfFile {
    pub file_id: i64,
    pub state: String,
    pub attempt: i32,
    pub max_attempts: i32,
    pub error: Option<String>,
}

/// Of these files the stages that have not ended well.
pub async fn of_files(db: impl PgExecutor<'_>, export_id: Uuid, files: &[i64]) -> sqlx::Result<Vec<OfFile>> {
    sqlx::query_as!(
        OfFile,
        r#"SELECT file_id AS "file_id!", state, attempt, max_attempts, error FROM bulkhead.stages
            WHERE export_id = $1 AND kind IN ('download', 'search') AND coalesce(file_id, 0) = ANY($2) AND coalesce(part_id, 0) = 0
              AND state IN ('ready', 'running', 'dead')"#,
        export_id,
        files
    )
    .fetch_all(db)
    .await
}
