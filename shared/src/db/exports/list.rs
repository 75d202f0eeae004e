//! Exports in pages.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use super::filter::{Filter, Place};

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

/// The newest first, those after a place; those that are being deleted are left out, and so are checks. Sums are made for this page only.
pub async fn page(db: impl PgExecutor<'_>, filter: &Filter, after: Option<Place>, limit: i64) -> sqlx::Result<Vec<Listed>> {
    query(filter, after, limit).build_query_as().fetch_all(db).await
}

fn query(filter: &Filter, after: Option<Place>, limit: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(
        "WITH page AS MATERIALIZED (
             SELECT e.id, e.source_id, e.level, e.group_id, e.resource_types, e.state, e.failure_reason, e.failure_detail, e.waits_for,
                    e.created_at, e.finished_at
               FROM bulkhead.exports e",
    );
    filter.push(&mut query);
    if let Some(Place { at, id }) = after {
        query.push(" AND (e.created_at, e.id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY e.created_at DESC, e.id DESC LIMIT ").push_bind(limit);
    query.push(
        ")
         SELECT page.id, s.base_url, page.level, page.group_id, page.resource_types, page.state, page.failure_reason, page.failure_detail,
                page.waits_for, page.created_at, page.finished_at, coalesce(p.rows, 0) AS rows, coalesce(f.files, 0) AS files
           FROM page JOIN bulkhead.sources s ON s.id = page.source_id
           LEFT JOIN LATERAL (SELECT sum(p.rows)::bigint AS rows
                                FROM bulkhead.file_parts p JOIN bulkhead.export_files f ON f.id = p.file_id
                               WHERE p.export_id = page.id AND f.kind = 'output') p ON true
           LEFT JOIN LATERAL (SELECT count(*) AS files FROM bulkhead.export_files f WHERE f.export_id = page.id) f ON true
          ORDER BY page.created_at DESC, page.id DESC",
    );
    query
}
