//! Table `export_events`: the story of an export, a sentence a row.

mod read;
pub mod troubles;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};
use utoipa::ToSchema;
use uuid::Uuid;

pub use read::{Interruption, Told, interruptions, page};

use crate::domain::{failure::Reason, stage::StageKind, words};

words! {
    /// How much it matters.
    pub enum EventLevel {
        Info = "info",
        Warning = "warning",
        Error = "error",
    }
}

/// Who tells it: a stage's attempt in a worker, or nobody in particular.
#[derive(Debug, Clone, Default)]
pub struct Teller {
    pub stage: Option<StageKind>,
    pub attempt: Option<i32>,
    pub worker: Option<String>,
    /// The class of the failure, where one is told.
    pub reason: Option<Reason>,
}

/// Adds a sentence. No PHI, no secrets, no signed URLs.
pub async fn tell(db: &mut PgConnection, export_id: Uuid, teller: &Teller, level: EventLevel, message: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO bulkhead.export_events (export_id, level, stage, attempt, worker, message, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        export_id,
        level.as_str(),
        teller.stage.map(StageKind::as_str),
        teller.attempt,
        teller.worker,
        message,
        teller.reason.map(Reason::as_str)
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Stages lost their workers: a sentence for each, in one statement. An export that is being changed or deleted at this moment is left out:
/// nothing waits for its lock here.
pub async fn tell_lost(
    db: impl PgExecutor<'_>,
    exports: &[Uuid],
    kinds: &[String],
    attempts: &[i32],
    workers: &[Option<String>],
) -> sqlx::Result<()> {
    if exports.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO bulkhead.export_events (export_id, level, stage, attempt, worker, message)
         SELECT e.id, 'warning', lost.stage, lost.attempt, lost.worker, format('The worker was lost; %s runs again.', lost.stage)
           FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[]) AS lost(export_id, stage, attempt, worker)
           JOIN bulkhead.exports e ON e.id = lost.export_id
            FOR KEY SHARE OF e SKIP LOCKED",
        exports,
        kinds,
        attempts,
        workers as &[Option<String>]
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A sentence of the story.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Grows from sentence to sentence.
    pub id: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    #[schema(value_type = EventLevel)]
    pub level: String,
    /// The stage that tells it, if one does.
    #[schema(value_type = Option<StageKind>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Which attempt of the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Which worker process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The sentence.
    pub message: String,
}

/// The last `limit` sentences, oldest first.
pub async fn last(db: impl PgExecutor<'_>, export_id: Uuid, limit: i64) -> sqlx::Result<Vec<Event>> {
    let mut events = sqlx::query_as!(
        Event,
        "SELECT id, at, level, stage, attempt, worker, message FROM bulkhead.export_events
          WHERE export_id = $1 ORDER BY id DESC LIMIT $2",
        export_id,
        limit
    )
    .fetch_all(db)
    .await?;
    events.reverse();
    Ok(events)
}

/// Sentences of all exports after the given id, for the service's log.
pub async fn after(db: impl PgExecutor<'_>, id: i64, limit: i64) -> sqlx::Result<Vec<(Uuid, Event)>> {
    let rows = sqlx::query!(
        "SELECT export_id, id, at, level, stage, attempt, worker, message FROM bulkhead.export_events WHERE id > $1 ORDER BY id LIMIT $2",
        id,
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let event =
                Event { id: r.id, at: r.at, level: r.level, stage: r.stage, attempt: r.attempt, worker: r.worker, message: r.message };
            (r.export_id, event)
        })
        .collect())
}

/// The newest sentence's id; 0 when there is none.
pub async fn newest(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT coalesce(max(id), 0) AS "id!" FROM bulkhead.export_events"#).fetch_one(db).await
}
