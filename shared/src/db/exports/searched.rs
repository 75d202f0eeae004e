//! Exports that go on by search, and what is noted of an export before its end.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::finding::Finding;

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

/// Notes findings; they are shown at once, and stay beside those of the end. What is noted already is not noted twice.
pub async fn note(db: &mut PgConnection, id: Uuid, findings: &[Finding]) -> sqlx::Result<()> {
    for finding in findings {
        let finding = serde_json::to_value([finding]).map_err(|e| sqlx::Error::Encode(e.into()))?;
        sqlx::query!(
            "UPDATE bulkhead.exports SET noted = noted || $2::jsonb, findings = findings || $2::jsonb WHERE id = $1 AND NOT noted @> $2::jsonb",
            id,
            finding
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// What was noted.
pub async fn noted(db: &mut PgConnection, id: Uuid) -> sqlx::Result<Vec<Finding>> {
    let noted = sqlx::query_scalar!("SELECT noted FROM bulkhead.exports WHERE id = $1", id).fetch_one(db).await?;
    serde_json::from_value(noted).map_err(|e| sqlx::Error::Decode(e.into()))
}
