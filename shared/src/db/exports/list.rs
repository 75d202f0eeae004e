//! Exports in pages.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// Which exports a list shows; `None` = all.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub states: Option<&'a [String]>,
    pub group_id: Option<&'a str>,
    pub base_url: Option<&'a str>,
    /// Only what comes after this export in the list: its time and id.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// An export in a list.
#[derive(Debug)]
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
pub async fn page(db: impl PgExecutor<'_>, filter: &Filter<'_>, limit: i64) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"WITH page AS MATERIALIZED (
               SELECT e.id, s.base_url, e.level, e.group_id, e.resource_types, e.state, e.failure_reason, e.failure_detail, e.waits_for,
                      e.created_at, e.finished_at
                 FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
                WHERE e.delete_requested_at IS NULL AND e.purpose = 'export'
                  AND ($1::text[] IS NULL OR e.state = ANY($1))
                  AND ($2::text IS NULL OR e.group_id = $2)
                  AND ($3::text IS NULL OR s.base_url = $3)
                  AND ($4::timestamptz IS NULL OR (e.created_at, e.id) < ($4, $5::uuid))
                ORDER BY e.created_at DESC, e.id DESC LIMIT $6)
           SELECT page.id AS "id!", page.base_url AS "base_url!", page.level AS "level!", page.group_id, page.resource_types AS "resource_types!",
                  page.state AS "state!", page.failure_reason, page.failure_detail, page.waits_for, page.created_at AS "created_at!",
                  page.finished_at, coalesce(p.rows, 0) AS "rows!", coalesce(f.files, 0) AS "files!"
             FROM page
             LEFT JOIN LATERAL (SELECT sum(p.rows)::bigint AS rows
                                  FROM bulkhead.file_parts p JOIN bulkhead.export_files f ON f.id = p.file_id
                                 WHERE p.export_id = page.id AND f.kind = 'output') p ON true
             LEFT JOIN LATERAL (SELECT count(*) AS files FROM bulkhead.export_files f WHERE f.export_id = page.id) f ON true
            ORDER BY page.created_at DESC, page.id DESC"#,
        filter.states as Option<&[String]>,
        filter.group_id,
        filter.base_url,
        filter.after.map(|(at, _)| at),
        filter.after.map(|(_, id)| id),
        limit
    )
    .fetch_all(db)
    .await
}
