//! Workers as people look at them, and what people may ask of them.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A worker process.
#[derive(Debug)]
pub struct Overview {
    pub id: Uuid,
    /// `host:process:run`.
    pub name: String,
    pub version: String,
    pub started_at: DateTime<Utc>,
    /// The last sign of life.
    pub seen_at: DateTime<Utc>,
    /// It claims nothing more.
    pub draining: bool,
    /// Because a person asked for it.
    pub drain_asked: bool,
    pub ended_at: Option<DateTime<Utc>>,
    /// It did not end by itself: it was silent for longer than its lease.
    pub lost: bool,
    pub control_slots: Option<i32>,
    pub transfer_slots: Option<i32>,
    pub load_slots: Option<i32>,
}

/// Those that live, and those that ended less than an hour ago.
pub async fn overview(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Overview>> {
    sqlx::query_as!(
        Overview,
        r#"SELECT id, name, version, started_at, lease_until - interval '6 s' AS "seen_at!", draining, drain_asked_at IS NOT NULL AS "drain_asked!",
                  ended_at, (CASE WHEN ended_at IS NULL THEN lease_until < clock_timestamp() ELSE ended_at > lease_until END) AS "lost!",
                  control_slots, transfer_slots, load_slots
             FROM bulkhead.workers
            WHERE ended_at IS NULL OR ended_at > clock_timestamp() - interval '1 hour'
            ORDER BY ended_at IS NOT NULL, started_at DESC LIMIT 100"#
    )
    .fetch_all(db)
    .await
}

/// How many workers claim stages.
pub async fn alive(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM bulkhead.workers WHERE ended_at IS NULL AND lease_until > clock_timestamp() AND NOT draining"#
    )
    .fetch_one(db)
    .await
}

/// Asks a worker to claim nothing more, or to go on. `false`: there is none, it has ended, or it ends by itself.
pub async fn ask_to_drain(db: impl PgExecutor<'_>, id: Uuid, drain: bool) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.workers SET draining = $2, drain_asked_at = CASE WHEN $2 THEN coalesce(drain_asked_at, clock_timestamp()) END
          WHERE id = $1 AND ended_at IS NULL AND (draining = (drain_asked_at IS NOT NULL))",
        id,
        drain
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
