//! What an export keeps of how its server is asked.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::finding::Finding;

/// The intent to ask the server, before it is asked.
pub async fn set_intent(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.exports SET kick_off_intent_at = clock_timestamp() WHERE id = $1", id).execute(db).await?;
    Ok(())
}

/// The server's answer was no: nothing was started, so it may be asked again freely.
pub async fn clear_intent(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.exports SET kick_off_intent_at = NULL WHERE id = $1", id).execute(db).await?;
    Ok(())
}

/// The server's answer to the kick-off: the export is on its way. Files of types before may be on theirs already.
pub async fn set_status_url(db: &mut PgConnection, id: Uuid, status_url: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.exports
            SET status_url = $2, state = CASE WHEN state = 'kicking_off' THEN 'in_progress' ELSE state END
          WHERE id = $1 AND status_url IS NULL
            -- Of an export that is asked for type by type files may be here already, and one of them may have failed it.
            AND (state = 'kicking_off' OR (state IN ('downloading', 'loading', 'failed') AND split_types IS NOT NULL))",
        id,
        status_url
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The status URL an export has.
pub async fn status_url(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("SELECT status_url FROM bulkhead.exports WHERE id = $1", id).fetch_one(db).await
}

/// The server does not support these parameters: it is asked without them from now on. `false`: that was known.
pub async fn drop_parameters(db: &mut PgConnection, id: Uuid, names: &[String]) -> sqlx::Result<bool> {
    let done = sqlx::query!("UPDATE bulkhead.exports SET dropped = dropped || $2 WHERE id = $1 AND NOT dropped @> $2", id, names)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Too many files for one export: from now on the server is asked for each of these types by itself. A status URL it gave for all is
/// let go at the end.
pub async fn split(db: &mut PgConnection, id: Uuid, types: &[String]) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.exports
            SET split_types = $2, split_at = 0, kick_off_intent_at = NULL, next_manifest_url = NULL,
                earlier_status_urls = array_remove(array_append(earlier_status_urls, status_url), NULL), status_url = NULL,
                state = CASE WHEN state = 'in_progress' THEN 'kicking_off' ELSE state END
          WHERE id = $1",
        id,
        types
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The server has answered for one type: on to the next. The manifest is not complete yet.
pub async fn next_type(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.exports
            SET split_at = split_at + 1, kick_off_intent_at = NULL, next_manifest_url = NULL, manifest_complete = false,
                manifest_page_keys = '{}',
                earlier_status_urls = array_remove(array_append(earlier_status_urls, status_url), NULL), status_url = NULL
          WHERE id = $1",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// There are no more pages, although the last answer was none.
pub async fn complete_manifest(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.exports SET manifest_complete = true WHERE id = $1 AND manifest_pages > 0", id).execute(db).await?;
    Ok(())
}

/// Keeps what was found before the end; the same is kept once.
pub async fn add_finding(db: &mut PgConnection, id: Uuid, finding: &Finding) -> sqlx::Result<()> {
    let finding = serde_json::to_value([finding]).map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query!(
        "UPDATE bulkhead.exports SET early_findings = early_findings || $2 WHERE id = $1 AND NOT early_findings @> $2",
        id,
        finding
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What was found before the end.
pub async fn early_findings(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Vec<Finding>> {
    let found = sqlx::query_scalar!("SELECT early_findings FROM bulkhead.exports WHERE id = $1", id).fetch_one(db).await?;
    serde_json::from_value(found).map_err(|e| sqlx::Error::Decode(e.into()))
}
