//! What an export's page shows beside the export itself.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

/// The first page of its manifest, as the server sent it.
pub async fn manifest(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<Value>> {
    Ok(sqlx::query_scalar!("SELECT manifest FROM bulkhead.exports WHERE id = $1", id).fetch_optional(db).await?.flatten())
}

/// Another export of the same Group of the same server.
#[derive(Debug)]
pub struct Neighbour {
    pub id: Uuid,
    pub state: String,
    pub created_at: DateTime<Utc>,
}

/// The one before this export, and the one after it.
pub async fn neighbours(
    db: impl PgExecutor<'_>,
    id: Uuid,
    base_url: &str,
    group_id: &str,
    at: DateTime<Utc>,
) -> sqlx::Result<(Option<Neighbour>, Option<Neighbour>)> {
    let found = sqlx::query!(
        r#"(SELECT e.id, e.state, e.created_at, true AS "before!" FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
             WHERE e.group_id = $2 AND s.base_url = $3 AND e.purpose = 'export' AND e.delete_requested_at IS NULL
               AND (e.created_at, e.id) < ($4, $1)
             ORDER BY e.created_at DESC, e.id DESC LIMIT 1)
           UNION ALL
           (SELECT e.id, e.state, e.created_at, false FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
             WHERE e.group_id = $2 AND s.base_url = $3 AND e.purpose = 'export' AND e.delete_requested_at IS NULL
               AND (e.created_at, e.id) > ($4, $1)
             ORDER BY e.created_at, e.id LIMIT 1)"#,
        id,
        group_id,
        base_url,
        at
    )
    .fetch_all(db)
    .await?;
    let (mut before, mut after) = (None, None);
    for row in found {
        let one = Some(Neighbour {
            id: row.id.unwrap_or_default(),
            state: row.state.unwrap_or_default(),
            created_at: row.created_at.unwrap_or(at),
        });
        *(if row.before { &mut before } else { &mut after }) = one;
    }
    Ok((before, after))
}
