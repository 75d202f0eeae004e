//! Checks: rows of `exports` whose purpose is one.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::{
    check::Report,
    export::{Ask, ExportState},
};

/// A new check, not yet in the queue. Checks wait for nobody and nobody waits for them.
pub async fn insert_check(db: &mut PgConnection, id: Uuid, source_id: Uuid, ask: &Ask) -> sqlx::Result<()> {
    let parameters = serde_json::Value::Object(ask.parameters.clone());
    sqlx::query!(
        "INSERT INTO bulkhead.exports (id, source_id, purpose, level, group_id, resource_types, since, parameters, lenient, same_as)
         VALUES ($1, $2, 'check', $3, $4, $5, $6, $7, $8, uuid_send($1))",
        id,
        source_id,
        ask.level.as_str(),
        ask.group_id,
        &ask.resource_types,
        ask.since,
        parameters,
        ask.lenient
    )
    .execute(db)
    .await?;
    Ok(())
}

/// It is over. `false`: it was before.
pub async fn complete_check(db: &mut PgConnection, id: Uuid, report: &Report) -> sqlx::Result<bool> {
    let report = serde_json::to_value(report).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let done = sqlx::query!(
        "UPDATE bulkhead.exports SET state = 'completed', report = $2, finished_at = clock_timestamp()
          WHERE id = $1 AND purpose = 'check' AND state NOT IN ('completed', 'failed', 'cancelled')",
        id,
        report
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A check as it stands.
#[derive(Debug)]
pub struct Check {
    pub source_id: Uuid,
    /// What it was asked for; whoever submits an export next begins with it.
    pub ask: Ask,
    pub state: ExportState,
    pub report: Option<Report>,
    /// Why it could not be made.
    pub error: Option<String>,
    pub remedy: Option<String>,
    pub fhir_server_url: String,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// A check by its id.
pub async fn get_check(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<Check>> {
    let row = sqlx::query!(
        "SELECT e.source_id, e.level, e.group_id, e.resource_types, e.since, e.parameters, e.lenient,
                e.state, e.report, e.failure_detail, e.failure_remedy, e.created_at, e.finished_at, s.base_url
           FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
          WHERE e.id = $1 AND e.purpose = 'check' AND e.delete_requested_at IS NULL",
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Check {
            source_id: row.source_id,
            ask: Ask {
                level: row.level.parse()?,
                group_id: row.group_id,
                resource_types: row.resource_types,
                since: row.since,
                parameters: serde_json::from_value(row.parameters).map_err(|e| sqlx::Error::Decode(e.into()))?,
                lenient: row.lenient,
            },
            state: row.state.parse()?,
            report: row.report.map(serde_json::from_value).transpose().map_err(|e| sqlx::Error::Decode(e.into()))?,
            error: row.failure_detail,
            remedy: row.failure_remedy,
            fhir_server_url: row.base_url,
            created_at: row.created_at,
            finished_at: row.finished_at,
        })
    })
    .transpose()
}
