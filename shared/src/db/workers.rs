//! Table `workers`: one lease per process.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

use super::interval;

/// How long a worker may be silent.
pub const LEASE: Duration = Duration::from_secs(6);
/// How often it renews.
pub const RENEWAL: Duration = Duration::from_secs(2);

/// A new worker process, or one that has lost everything and starts afresh.
pub async fn register(db: impl PgExecutor<'_>, id: Uuid, name: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO bulkhead.workers (id, name, version, lease_until) VALUES ($1, $2, $3, clock_timestamp() + $4)",
        id,
        name,
        env!("CARGO_PKG_VERSION"),
        interval(LEASE)
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Renews the lease. `false`: it was taken away, all work of this worker is lost.
pub async fn renew(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.workers SET lease_until = clock_timestamp() + $2 WHERE id = $1 AND ended_at IS NULL",
        id,
        interval(LEASE)
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
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
