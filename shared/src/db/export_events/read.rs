//! The story as its export's page shows it.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A sentence, and the class of the failure it tells of.
#[derive(Debug)]
pub struct Told {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub level: String,
    pub stage: Option<String>,
    pub attempt: Option<i32>,
    pub worker: Option<String>,
    pub reason: Option<String>,
    pub message: String,
}

/// A page of the story, the newest first: the sentences before the one with this id.
pub async fn page(db: impl PgExecutor<'_>, export_id: Uuid, before: Option<i64>, limit: i64) -> sqlx::Result<Vec<Told>> {
    sqlx::query_as!(
        Told,
        "SELECT id, at, level, stage, attempt, worker, reason, message FROM bulkhead.export_events
          WHERE export_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        export_id,
        before.unwrap_or(i64::MAX),
        limit
    )
    .fetch_all(db)
    .await
}

/// A moment at which an export was held up, or went on after a failure.
#[derive(Debug)]
pub struct Interruption {
    pub at: DateTime<Utc>,
    pub stage: Option<String>,
    /// No attempt was left, or none would have helped.
    pub is_error: bool,
    /// A person had it retried: it goes on.
    pub goes_on: bool,
}

/// Where a story has breaks: attempts that failed, workers that were lost, failures, and retries after them. The last of them, in order.
pub async fn interruptions(db: impl PgExecutor<'_>, export_id: Uuid, limit: i64) -> sqlx::Result<Vec<Interruption>> {
    let mut found = sqlx::query_as!(
        Interruption,
        r#"SELECT at, stage, level = 'error' AS "is_error!", stage IS NULL AS "goes_on!" FROM bulkhead.export_events
            WHERE export_id = $1 AND (reason IS NOT NULL OR level = 'error' OR message LIKE 'The worker was lost;%'
                                      OR (stage IS NULL AND message LIKE 'retried by an operator%'))
            ORDER BY id DESC LIMIT $2"#,
        export_id,
        limit
    )
    .fetch_all(db)
    .await?;
    found.reverse();
    Ok(found)
}
