//! Table `audit_log`: who did and saw what. Append only.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::audit::{Act, Actor, ObjectKind};

/// What was done, and to what.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    pub act: Act,
    pub object: Option<(ObjectKind, &'a str)>,
    /// Nothing of a patient, no secret.
    pub detail: Value,
}

impl<'a> Entry<'a> {
    /// Done to this, with nothing more to say.
    #[must_use]
    pub fn of(act: Act, kind: ObjectKind, object: &'a str) -> Self {
        Self { act, object: Some((kind, object)), detail: Value::Object(serde_json::Map::new()) }
    }

    /// Done to nothing in particular.
    #[must_use]
    pub fn bare(act: Act) -> Self {
        Self { act, object: None, detail: Value::Object(serde_json::Map::new()) }
    }

    /// With more to say.
    #[must_use]
    pub fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }
}

/// Writes it down; in the transaction of what is done, where there is one.
pub async fn insert(db: impl PgExecutor<'_>, actor: &Actor, entry: &Entry<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO bulkhead.audit_log (actor_kind, actor_id, actor, address, act, object_kind, object, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        actor.kind.as_str(),
        actor.id,
        actor.name,
        actor.address.map(|address| address.to_string()),
        entry.act.as_str(),
        entry.object.map(|(kind, _)| kind.as_str()),
        entry.object.map(|(_, object)| object),
        entry.detail
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The same done to many exports, a row for each.
pub async fn insert_exports(db: impl PgExecutor<'_>, actor: &Actor, act: Act, exports: &[Uuid]) -> sqlx::Result<()> {
    if exports.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO bulkhead.audit_log (actor_kind, actor_id, actor, address, act, object_kind, object)
         SELECT $1, $2, $3, $4, $5, 'export', e::text FROM unnest($6::uuid[]) AS e",
        actor.kind.as_str(),
        actor.id,
        actor.name,
        actor.address.map(|address| address.to_string()),
        act.as_str(),
        exports
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Which entries; `None`: any.
#[derive(Debug, Default, Clone)]
pub struct Filter<'a> {
    /// A user's or a token's name, however it is written.
    pub actor: Option<&'a str>,
    pub act: Option<Act>,
    /// An export's id, a resource's `Type/id`, a user's or a token's name.
    pub object: Option<&'a str>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// Those before this one.
    pub before: Option<i64>,
}

/// An entry as it is read.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub actor_kind: String,
    pub actor: String,
    pub address: Option<String>,
    pub act: String,
    pub object_kind: Option<String>,
    pub object: Option<String>,
    pub detail: Value,
}

/// What was done to an export, and by whom, the last first. Its looks are left out: there may be many.
pub async fn done_to_export(db: impl PgExecutor<'_>, export: &str, limit: i64) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT id, at, actor_kind, actor, address, act, object_kind, object, detail FROM bulkhead.audit_log
          WHERE object = $1 AND object_kind = 'export' AND act LIKE 'export_%'
          ORDER BY id DESC LIMIT $2",
        export,
        limit
    )
    .fetch_all(db)
    .await
}

/// A page, the newest first.
pub async fn page(db: impl PgExecutor<'_>, filter: &Filter<'_>, limit: i64) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        "SELECT id, at, actor_kind, actor, address, act, object_kind, object, detail FROM bulkhead.audit_log
          WHERE ($1::text IS NULL OR lower(actor) = lower($1)) AND ($2::text IS NULL OR act = $2) AND ($3::text IS NULL OR object = $3)
            AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5) AND ($6::bigint IS NULL OR id < $6)
          ORDER BY id DESC LIMIT $7",
        filter.actor,
        filter.act.map(Act::as_str),
        filter.object,
        filter.since,
        filter.until,
        filter.before,
        limit
    )
    .fetch_all(db)
    .await
}
