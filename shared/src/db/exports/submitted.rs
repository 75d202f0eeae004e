//! What a form of many exports wants to know: what it has made, and since when each Group is known.

use serde_json::{Map, Value};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::export::Level;

/// An export that a form has made.
#[derive(Debug)]
pub struct Submitted {
    pub id: Uuid,
    pub level: String,
    pub group_id: Option<String>,
    pub state: String,
    pub since: Option<String>,
    /// It starts when that one has ended.
    pub waits_for: Option<Uuid>,
    pub failure_reason: Option<String>,
    pub failure_detail: Option<String>,
}

/// The exports that were made under these Idempotency-Keys, in the order they were made.
pub async fn submitted(db: impl PgExecutor<'_>, keys: &[String]) -> sqlx::Result<Vec<Submitted>> {
    sqlx::query_as!(
        Submitted,
        "SELECT id, level, group_id, state, since, waits_for, failure_reason, failure_detail FROM bulkhead.exports
          WHERE idempotency_key = ANY($1) AND delete_requested_at IS NULL ORDER BY created_at, id",
        keys
    )
    .fetch_all(db)
    .await
}

/// The last complete export of a Group, or of a whole level.
#[derive(Debug)]
pub struct LastSuccess {
    pub group_id: Option<String>,
    /// The server's time of it: what changed before is here.
    pub transaction_time: String,
}

/// The newest export of each Group that lacks nothing of what is asked for now: completed without gaps, of all these types, with the same
/// parameters. Of any client of the server.
pub async fn last_success(
    db: impl PgExecutor<'_>,
    source_id: Uuid,
    level: Level,
    groups: &[String],
    types: &[String],
    parameters: &Map<String, Value>,
) -> sqlx::Result<Vec<LastSuccess>> {
    sqlx::query_as!(
        LastSuccess,
        r#"SELECT DISTINCT ON (e.group_id) e.group_id, e.transaction_time AS "transaction_time!"
             FROM bulkhead.exports e
             JOIN bulkhead.sources s ON s.id = e.source_id
            WHERE s.base_url = (SELECT base_url FROM bulkhead.sources WHERE id = $1) AND e.purpose = 'export' AND e.level = $2
              AND (e.group_id IS NULL OR e.group_id = ANY($3)) AND e.state = 'completed' AND e.delete_requested_at IS NULL
              AND e.accepted_at IS NULL AND NOT e.findings @> '[{"severity": "error"}]' AND e.transaction_time IS NOT NULL
              AND (e.resource_types = '{}' OR ($4::text[] <> '{}' AND e.resource_types @> $4)) AND e.parameters = $5
            ORDER BY e.group_id, e.created_at DESC"#,
        source_id,
        level.as_str(),
        groups,
        types,
        Value::Object(parameters.clone())
    )
    .fetch_all(db)
    .await
}
