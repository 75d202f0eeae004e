//! Table `exports`.

mod browse;
mod checks;
mod failures;
mod filter;
mod kick_off;
mod list;
mod many;
mod neighbours;
mod retry;
mod searched;
mod submitted;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::{
    export::{Ask, Export, ExportState},
    failure::Failure,
    finding::Finding,
    words,
};

pub use browse::{Count, Entry, MOST_COUNTED, Overview, Shown, Turn, browse, count_exactly, moment, overview};
pub use checks::{Check, complete_check, get_check, insert_check};
pub use failures::{FailureClass, failure_bars, failure_classes, failure_sources};
pub use filter::{Filter, Is, Meant, Period, Place, ids_beginning, meant};
pub use kick_off::{
    add_finding, clear_intent, complete_manifest, drop_parameters, early_findings, next_type, set_intent, set_status_url, split, status_url,
};
pub use list::{Listed, page};
pub use many::{Acted, Refusal, act_on, matching};
pub use neighbours::{Neighbour, manifest, neighbours};
pub use retry::{FailedFilter, Matched, retry_some, would_retry};
pub use searched::{forget_lists, set_searched, step_to_searches};
pub use submitted::{LastSuccess, Submitted, last_success, submitted};

/// An export by its id.
pub async fn get(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<Export>> {
    Ok(get_many(db, &[id]).await?.pop())
}

/// Exports by their ids, in no order; those that are gone are left out.
pub async fn get_many(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<Export>> {
    sqlx::query_as!(
        ExportRow,
        r#"SELECT id, source_id, purpose, level, group_id, resource_types, since, parameters, lenient, accept_partial, route, waits_for, state,
                  dropped, split_types, split_at, earlier_status_urls,
                  kick_off_intent_at, status_url, next_manifest_url, manifest_pages, manifest_complete, transaction_time,
                  expires_at, findings, accepted_at, released_at, delete_requested_at, restarts,
                  failure_stage, failure_reason, failure_detail, failure_remedy, created_at, started_at, finished_at
             FROM bulkhead.exports WHERE id = ANY($1)"#,
        ids
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Export::try_from)
    .collect()
}

struct ExportRow {
    id: Uuid,
    source_id: Uuid,
    purpose: String,
    level: String,
    group_id: Option<String>,
    resource_types: Vec<String>,
    since: Option<String>,
    parameters: serde_json::Value,
    lenient: bool,
    accept_partial: bool,
    route: String,
    waits_for: Option<Uuid>,
    state: String,
    dropped: Vec<String>,
    split_types: Option<Vec<String>>,
    split_at: i32,
    earlier_status_urls: Vec<String>,
    kick_off_intent_at: Option<DateTime<Utc>>,
    status_url: Option<String>,
    next_manifest_url: Option<String>,
    manifest_pages: i32,
    manifest_complete: bool,
    transaction_time: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    findings: serde_json::Value,
    accepted_at: Option<DateTime<Utc>>,
    released_at: Option<DateTime<Utc>>,
    delete_requested_at: Option<DateTime<Utc>>,
    restarts: i32,
    failure_stage: Option<String>,
    failure_reason: Option<String>,
    failure_detail: Option<String>,
    failure_remedy: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl TryFrom<ExportRow> for Export {
    type Error = sqlx::Error;

    fn try_from(row: ExportRow) -> sqlx::Result<Self> {
        let failure = match (row.failure_stage, row.failure_reason) {
            (Some(stage), Some(reason)) => Some(Failure {
                stage: stage.parse()?,
                reason: reason.parse()?,
                detail: row.failure_detail.unwrap_or_default(),
                remedy: row.failure_remedy.unwrap_or_default(),
            }),
            _ => None,
        };
        Ok(Self {
            id: row.id,
            source_id: row.source_id,
            purpose: row.purpose.parse()?,
            ask: Ask {
                level: row.level.parse()?,
                group_id: row.group_id,
                resource_types: row.resource_types,
                since: row.since,
                parameters: serde_json::from_value(row.parameters).map_err(|e| sqlx::Error::Decode(e.into()))?,
                lenient: row.lenient,
            },
            dropped: row.dropped,
            split_types: row.split_types,
            split_at: usize::try_from(row.split_at).unwrap_or(0),
            earlier_status_urls: row.earlier_status_urls,
            accept_partial: row.accept_partial,
            route: row.route.parse()?,
            waits_for: row.waits_for,
            state: row.state.parse()?,
            kick_off_intent_at: row.kick_off_intent_at,
            status_url: row.status_url,
            next_manifest_url: row.next_manifest_url,
            manifest_pages: row.manifest_pages,
            manifest_complete: row.manifest_complete,
            transaction_time: row.transaction_time,
            expires_at: row.expires_at,
            findings: serde_json::from_value(row.findings).map_err(|e| sqlx::Error::Decode(e.into()))?,
            accepted_at: row.accepted_at,
            released_at: row.released_at,
            delete_requested_at: row.delete_requested_at,
            restarts: row.restarts,
            failure,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

/// A new export, not yet in the queue.
pub struct NewExport<'a> {
    pub id: Uuid,
    pub source_id: Uuid,
    pub ask: &'a Ask,
    pub accept_partial: bool,
    /// Hash of source, level, Group and parameters: what must not run twice at once.
    pub same_as: &'a [u8],
    pub waits_for: Option<Uuid>,
    pub status_url: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    pub request_hash: &'a [u8],
}

/// Inserts it.
pub async fn insert(db: &mut PgConnection, new: &NewExport<'_>) -> sqlx::Result<()> {
    let parameters = serde_json::Value::Object(new.ask.parameters.clone());
    sqlx::query!(
        "INSERT INTO bulkhead.exports (id, source_id, level, group_id, resource_types, since, parameters, accept_partial,
                                       same_as, waits_for, status_url, idempotency_key, request_hash, lenient)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        new.id,
        new.source_id,
        new.ask.level.as_str(),
        new.ask.group_id,
        &new.ask.resource_types,
        new.ask.since,
        parameters,
        new.accept_partial,
        new.same_as,
        new.waits_for,
        new.status_url,
        new.idempotency_key,
        new.request_hash,
        new.ask.lenient,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The newest live export that asks the same, locked so that it cannot end before the caller commits.
/// Takes a lock on the question itself, so that two that ask at once see each other.
pub async fn live_same(db: &mut PgConnection, same_as: &[u8]) -> sqlx::Result<Option<Uuid>> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended(encode($1::bytea, 'hex'), 1))", same_as).execute(&mut *db).await?;
    sqlx::query_scalar!(
        "SELECT id FROM bulkhead.exports
          WHERE same_as = $1 AND state NOT IN ('completed', 'failed', 'cancelled')
          ORDER BY created_at DESC LIMIT 1 FOR SHARE",
        same_as
    )
    .fetch_optional(db)
    .await
}

/// The export made by an earlier request with this Idempotency-Key, and that request's hash.
pub async fn by_idempotency_key(db: impl PgExecutor<'_>, key: &str) -> sqlx::Result<Option<(Uuid, Vec<u8>)>> {
    let row = sqlx::query!("SELECT id, request_hash FROM bulkhead.exports WHERE idempotency_key = $1", key).fetch_optional(db).await?;
    Ok(row.map(|row| (row.id, row.request_hash.unwrap_or_default())))
}

/// The export that has this status URL.
pub async fn by_status_url(db: impl PgExecutor<'_>, status_url: &str) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM bulkhead.exports WHERE md5(status_url) = md5($1) AND status_url = $1 ORDER BY created_at DESC LIMIT 1",
        status_url
    )
    .fetch_optional(db)
    .await
}

/// A step forward, from one of the states expected. `false`: it stood elsewhere, nothing was changed.
pub async fn step(db: &mut PgConnection, id: Uuid, from: &[ExportState], to: ExportState) -> sqlx::Result<bool> {
    let from: Vec<String> = from.iter().map(|state| state.as_str().to_owned()).collect();
    let done = sqlx::query!(
        "UPDATE bulkhead.exports SET state = $3, started_at = coalesce(started_at, clock_timestamp()) WHERE id = $1 AND state = ANY($2)",
        id,
        &from,
        to.as_str()
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What the authorization server granted before the server was asked.
pub async fn set_granted_scope(db: &mut PgConnection, id: Uuid, scope: Option<&str>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.exports SET granted_scope = $2 WHERE id = $1", id, scope).execute(db).await?;
    Ok(())
}

/// What was granted, where that is known.
pub async fn granted_scope(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("SELECT granted_scope FROM bulkhead.exports WHERE id = $1", id).fetch_one(db).await
}

/// What one page of the manifest says of the whole export.
pub struct ManifestPage<'a> {
    pub transaction_time: Option<&'a str>,
    pub expires_at: Option<DateTime<Utc>>,
    /// The page's own URL.
    pub url: &'a str,
    /// The next page's URL; none on the last.
    pub next: Option<&'a str>,
    /// The export has not ended: this page comes again, with more.
    pub partial: bool,
    pub raw: serde_json::Value,
}

/// What a page of the manifest is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageIs {
    New,
    /// It was taken in before, by an earlier run: there is nothing to do.
    Known,
    /// The pages lead back to it.
    Circle,
}

/// Takes a page of the manifest in: the export downloads from now on.
pub async fn add_manifest_page(db: &mut PgConnection, id: Uuid, page: &ManifestPage<'_>) -> sqlx::Result<PageIs> {
    let (known, next_known, expected) = page_is(db, id, page).await?;
    if page.next == Some(page.url) || (known && expected && !page.partial) || (!known && next_known) {
        return Ok(PageIs::Circle);
    }
    if known && !page.partial {
        return Ok(PageIs::Known);
    }
    sqlx::query!(
        "UPDATE bulkhead.exports
            SET manifest = CASE WHEN manifest IS NULL OR $7 THEN $5 ELSE manifest END,
                manifest_pages = CASE WHEN $7 THEN greatest(manifest_pages, 1) ELSE manifest_pages + 1 END,
                manifest_page_keys = CASE WHEN $7 THEN manifest_page_keys ELSE array_append(manifest_page_keys, md5($6)::uuid) END,
                next_manifest_url = CASE WHEN $7 THEN next_manifest_url ELSE $4 END,
                manifest_complete = ($4::text IS NULL AND NOT $7),
                transaction_time = coalesce(transaction_time, $2), expires_at = least(expires_at, $3),
                state = CASE WHEN state = 'in_progress' THEN 'downloading' ELSE state END
          WHERE id = $1",
        id,
        page.transaction_time,
        page.expires_at,
        page.next,
        page.raw,
        page.url,
        page.partial,
    )
    .execute(db)
    .await?;
    Ok(PageIs::New)
}

/// Whether the page and the next one were taken in before, and whether this is the one that was to be next.
async fn page_is(db: &mut PgConnection, id: Uuid, page: &ManifestPage<'_>) -> sqlx::Result<(bool, bool, bool)> {
    let row = sqlx::query!(
        r#"SELECT md5($2)::uuid = ANY(manifest_page_keys) AS "known!", coalesce(md5($3)::uuid = ANY(manifest_page_keys), false) AS "next_known!",
                  next_manifest_url IS NOT DISTINCT FROM $2 AS "expected!"
             FROM bulkhead.exports WHERE id = $1"#,
        id,
        page.url,
        page.next
    )
    .fetch_one(db)
    .await?;
    Ok((row.known, row.next_known, row.expected))
}

/// Every file is here; what is left is loading.
pub async fn step_to_loading(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.exports e SET state = 'loading'
          WHERE id = $1 AND state = 'downloading' AND manifest_complete
            AND NOT EXISTS (SELECT FROM bulkhead.stages s
                             WHERE s.export_id = e.id AND s.kind IN ('download', 'search') AND s.state IN ('ready', 'running'))",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a download, search or load is still to come.
pub async fn has_live_data_stages(db: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bulkhead.stages
                           WHERE export_id = $1 AND kind IN ('download', 'search', 'load') AND state IN ('ready', 'running')) AS "live!""#,
        id
    )
    .fetch_one(db)
    .await
}

/// It is complete, or its gaps were accepted.
pub async fn complete(db: &mut PgConnection, id: Uuid, findings: &[Finding]) -> sqlx::Result<bool> {
    let findings = serde_json::to_value(findings).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let done = sqlx::query!(
        "UPDATE bulkhead.exports SET state = 'completed', findings = $2, finished_at = clock_timestamp()
          WHERE id = $1 AND state IN ('downloading', 'loading')",
        id,
        findings
    )
    .execute(&mut *db)
    .await?;
    let_waiting_start(db, id).await?;
    Ok(done.rows_affected() == 1)
}

/// It failed. It remembers where it stood, for a retry.
pub async fn fail(db: &mut PgConnection, id: Uuid, failure: &Failure, findings: Option<&[Finding]>) -> sqlx::Result<bool> {
    let findings = findings.map(serde_json::to_value).transpose().map_err(|e| sqlx::Error::Encode(e.into()))?;
    let done = sqlx::query!(
        "UPDATE bulkhead.exports
            SET failed_from = state, state = 'failed', finished_at = clock_timestamp(), failure_stage = $2, failure_reason = $3,
                failure_detail = $4, failure_remedy = $5, findings = coalesce($6, findings)
          WHERE id = $1 AND state NOT IN ('completed', 'failed', 'cancelled')",
        id,
        failure.stage.as_str(),
        failure.reason.as_str(),
        failure.detail,
        failure.remedy,
        findings
    )
    .execute(&mut *db)
    .await?;
    let_waiting_start(db, id).await?;
    Ok(done.rows_affected() == 1)
}

async fn let_waiting_start(db: &mut PgConnection, ended: Uuid) -> sqlx::Result<()> {
    sqlx::query!("SELECT bulkhead.let_waiting_start($1, NULL)", ended).execute(db).await?;
    Ok(())
}

/// The server has been told that it may forget the export.
pub async fn set_released(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.exports SET released_at = clock_timestamp() WHERE id = $1", id).execute(db).await?;
    Ok(())
}

/// Its blobs are gone. `true` for the first time.
pub async fn set_cleaned(db: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!("UPDATE bulkhead.exports SET cleaned_at = clock_timestamp() WHERE id = $1 AND cleaned_at IS NULL", id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A stage that followed its end is over: in a day it may go too.
pub async fn plan_purge(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.exports SET purge_at = clock_timestamp() + interval '1 day'
          WHERE id = $1 AND purge_at IS NULL AND state IN ('completed', 'cancelled')",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Which of these are not there (any more).
pub async fn unknown(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM unnest($1::uuid[]) AS asked(id) WHERE NOT EXISTS (SELECT FROM bulkhead.exports e WHERE e.id = asked.id)"#,
        ids
    )
    .fetch_all(db)
    .await
}

/// The row itself goes, and with it its files, parts, stages, events and rejects.
pub async fn delete(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM bulkhead.exports WHERE id = $1 AND delete_requested_at IS NOT NULL", id).execute(db).await?;
    Ok(())
}

words! {
    /// What a person may do to an export. Each is a function of the database, the same in psql: it locks the row, checks the
    /// state and tells the story. SQLSTATE `P0002`: no such export; `55000`: its state does not allow it.
    pub enum Operation {
        Retry = "retry",
        Cancel = "cancel",
        Accept = "accept",
        Delete = "delete",
    }
}

/// Does it. `false`: it was done already, so nothing changed.
pub async fn operate(db: impl PgExecutor<'_>, operation: Operation, id: Uuid) -> sqlx::Result<bool> {
    let done = match operation {
        Operation::Retry => sqlx::query_scalar!("SELECT bulkhead.retry_export($1) IS NOT NULL", id).fetch_one(db).await?,
        Operation::Cancel => {
            sqlx::query_scalar!(
                "SELECT (SELECT state FROM bulkhead.exports WHERE id = $1) IS DISTINCT FROM 'cancelled' AND bulkhead.cancel_export($1) IS NOT NULL",
                id
            )
            .fetch_one(db)
            .await?
        }
        Operation::Accept => sqlx::query_scalar!("SELECT bulkhead.accept_export($1) = 'accepted'", id).fetch_one(db).await?,
        Operation::Delete => sqlx::query_scalar!("SELECT bulkhead.delete_export($1) IS NOT NULL", id).fetch_one(db).await?,
    };
    Ok(done.unwrap_or_default())
}
