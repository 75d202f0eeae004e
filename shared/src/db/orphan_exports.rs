//! Table `orphan_exports`: status URLs that came after their stage was taken over.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// Remembers a status URL that no export has (yet).
pub async fn add(db: impl PgExecutor<'_>, source_id: Uuid, export_id: Uuid, status_url: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO bulkhead.orphan_exports (source_id, export_id, status_url)
         VALUES ($1, (SELECT id FROM bulkhead.exports WHERE id = $2), $3) ON CONFLICT DO NOTHING",
        source_id,
        export_id,
        status_url
    )
    .execute(db)
    .await?;
    Ok(())
}

/// An orphan whose time has come.
#[derive(Debug)]
pub struct Orphan {
    pub id: i64,
    pub source_id: Uuid,
    pub status_url: String,
}

/// Takes one due orphan that no export has; its next try is put off, so that no other worker takes it too.
pub async fn take_due(db: &mut PgConnection) -> sqlx::Result<Option<Orphan>> {
    sqlx::query_as!(
        Orphan,
        "UPDATE bulkhead.orphan_exports o
            SET attempts = attempts + 1, next_try_at = clock_timestamp() + least(attempts + 1, 24) * interval '1 hour'
          WHERE id = (SELECT id FROM bulkhead.orphan_exports c
                       WHERE released_at IS NULL AND next_try_at <= clock_timestamp() AND attempts < 48
                         AND NOT EXISTS (SELECT FROM bulkhead.exports e WHERE md5(e.status_url) = md5(c.status_url) AND e.status_url = c.status_url)
                         AND NOT EXISTS (SELECT FROM bulkhead.exports e WHERE e.id = c.export_id AND c.status_url = ANY(e.earlier_status_urls))
                       ORDER BY next_try_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, source_id, status_url"
    )
    .fetch_optional(db)
    .await
}

/// The server has forgotten it.
pub async fn set_released(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.orphan_exports SET released_at = clock_timestamp() WHERE id = $1", id).execute(db).await?;
    Ok(())
}
