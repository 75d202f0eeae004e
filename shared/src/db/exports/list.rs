//! Exports in pages.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::domain::failure::Reason;

/// Which exports a list shows; `None` = all.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub states: Option<&'a [String]>,
    pub group_id: Option<&'a str>,
    pub base_url: Option<&'a str>,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// Only what comes after this export in the list: its time and id.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// An export in a list.
#[derive(Debug, FromRow)]
pub struct Listed {
    pub id: Uuid,
    pub base_url: String,
    pub level: String,
    pub group_id: Option<String>,
    pub resource_types: Vec<String>,
    pub state: String,
    pub failure_reason: Option<String>,
    pub failure_detail: Option<String>,
    pub waits_for: Option<Uuid>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Rows of its output files.
    pub rows: i64,
    pub files: i64,
}

/// The newest first; those that are being deleted are left out, and so are checks. Sums are made for this page only.
///
/// The query is written for the filters that are given: one for all of them would be planned without knowing which, and read past
/// every other export.
pub async fn page(db: impl PgExecutor<'_>, filter: &Filter<'_>, limit: i64) -> sqlx::Result<Vec<Listed>> {
    query(filter, limit).build_query_as().fetch_all(db).await
}

fn query(filter: &Filter<'_>, limit: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(
        "WITH page AS MATERIALIZED (
             SELECT e.id, s.base_url, e.level, e.group_id, e.resource_types, e.state, e.failure_reason, e.failure_detail, e.waits_for,
                    e.created_at, e.finished_at
               FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
              WHERE e.delete_requested_at IS NULL AND e.purpose = 'export'",
    );
    if let Some(states) = filter.states {
        query.push(" AND e.state = ANY(").push_bind(states.to_vec()).push(")");
    }
    if let Some(group_id) = filter.group_id {
        query.push(" AND e.group_id = ").push_bind(group_id.to_owned());
    }
    if let Some(base_url) = filter.base_url {
        query.push(" AND s.base_url = ").push_bind(base_url.to_owned());
    }
    if let Some(reason) = filter.reason {
        query.push(" AND e.failure_reason = ").push_bind(reason.as_str());
    }
    if let Some((at, id)) = filter.after {
        query.push(" AND (e.created_at, e.id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY e.created_at DESC, e.id DESC LIMIT ").push_bind(limit);
    query.push(
        ")
         SELECT page.id, page.base_url, page.level, page.group_id, page.resource_types, page.state, page.failure_reason, page.failure_detail,
                page.waits_for, page.created_at, page.finished_at, coalesce(p.rows, 0) AS rows, coalesce(f.files, 0) AS files
           FROM page
           LEFT JOIN LATERAL (SELECT sum(p.rows)::bigint AS rows
                                FROM bulkhead.file_parts p JOIN bulkhead.export_files f ON f.id = p.file_id
                               WHERE p.export_id = page.id AND f.kind = 'output') p ON true
           LEFT JOIN LATERAL (SELECT count(*) AS files FROM bulkhead.export_files f WHERE f.export_id = page.id) f ON true
          ORDER BY page.created_at DESC, page.id DESC",
    );
    query
}
