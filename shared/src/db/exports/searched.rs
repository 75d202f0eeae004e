//! Exports that go on by search.

use sqlx::PgConnection;
use uuid::Uuid;

/// There is no bulk export to be had: it goes on by search. `false`: it does already.
pub async fn set_searched(db: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.exports SET route = 'search', kick_off_intent_at = NULL WHERE id = $1 AND route <> 'search' AND NOT manifest_complete",
        id
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Its searches are known: they are its manifest. `false`: they were already.
pub async fn step_to_searches(db: &mut PgConnection, id: Uuid, transaction_time: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.exports
            SET manifest_pages = manifest_pages + 1, next_manifest_url = NULL, manifest_complete = true,
                transaction_time = coalesce(transaction_time, $2), state = 'downloading'
          WHERE id = $1 AND route = 'search' AND NOT manifest_complete AND state IN ('kicking_off', 'in_progress', 'downloading')",
        id,
        transaction_time
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
