//! Table `workers`: one lease per process.

mod overview;

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

use super::interval;
pub use overview::{Overview, alive, ask_to_drain, overview};

/// How long a worker may be silent.
pub const LEASE: Duration = Duration::from_secs(6);
/// How often it renews.
pub const RENEWAL: Duration = Duration::from_secs(2);

/// A worker process: its name, and how much it runs at once, by lane.
#[derive(Debug, Clone)]
pub struct Process {
    pub name: String,
    pub control_slots: i32,
    pub transfer_slots: i32,
    pub load_slots: i32,
}

/// A new worker process, or one that has lost everything and starts afresh; then it drains on, if a person asked for it.
pub async fn register(db: impl PgExecutor<'_>, id: Uuid, process: &Process, drains: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO bulkhead.workers (id, name, version, lease_until, control_slots, transfer_slots, load_slots, draining, drain_asked_at)
         VALUES ($1, $2, $3, clock_timestamp() + $4, $5, $6, $7, $8, CASE WHEN $8 THEN clock_timestamp() END)",
        id,
        process.name,
        env!("CARGO_PKG_VERSION"),
        interval(LEASE),
        process.control_slots,
        process.transfer_slots,
        process.load_slots,
        drains
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Renews the lease; says whether a person asked this worker to drain. `None`: it was taken away, all work of this worker is lost.
pub async fn renew(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"UPDATE bulkhead.workers SET lease_until = clock_timestamp() + $2 WHERE id = $1 AND ended_at IS NULL
           RETURNING drain_asked_at IS NOT NULL AS "drains!""#,
        id,
        interval(LEASE)
    )
    .fetch_optional(db)
    .await
}

/// Whether any process is there to work.
pub async fn any_alive(db: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bulkhead.workers WHERE ended_at IS NULL AND lease_until > clock_timestamp() AND NOT draining) AS "alive!""#
    )
    .fetch_one(db)
    .await
}

/// It claims nothing more and will end.
pub async fn set_draining(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.workers SET draining = true WHERE id = $1", id).execute(db).await?;
    Ok(())
}

/// It has ended by itself.
pub async fn end(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.workers SET ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL", id).execute(db).await?;
    Ok(())
}

/// Ends the workers whose lease is over. Returns their names.
pub async fn end_lapsed(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "UPDATE bulkhead.workers SET ended_at = clock_timestamp()
          WHERE id IN (SELECT id FROM bulkhead.workers WHERE ended_at IS NULL AND lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
         RETURNING name"
    )
    .fetch_all(db)
    .await
}
