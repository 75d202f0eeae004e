//! What went wrong on the way in some time, over all exports: attempts that failed and were made again, and files that were given up. A server
//! that is about to fail an export is seen here first.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, postgres::types::PgInterval};

/// Troubles of one class in one span of time.
#[derive(Debug)]
pub struct Bar {
    pub at: DateTime<Utc>,
    pub reason: String,
    pub count: i64,
}

/// How often each class was met, by spans of `step` since `from`.
pub async fn bars(db: impl PgExecutor<'_>, from: DateTime<Utc>, step: PgInterval) -> sqlx::Result<Vec<Bar>> {
    sqlx::query_as!(
        Bar,
        r#"SELECT date_bin($2, at, $1) AS "at!", reason AS "reason!", count(*) AS "count!" FROM bulkhead.export_events
            WHERE reason IS NOT NULL AND at >= $1 AND (level = 'warning' OR stage IN ('download', 'search', 'load'))
            GROUP BY 1, 2 ORDER BY 1, 2"#,
        from,
        step
    )
    .fetch_all(db)
    .await
}

/// A class of troubles.
#[derive(Debug)]
pub struct Class {
    pub reason: String,
    /// Attempts that failed and were made again.
    pub attempts: i64,
    /// Files that were given up after that.
    pub files: i64,
    pub exports: i64,
    pub sources: i64,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

/// The classes that were met since `from`, the most frequent first.
pub async fn classes(db: impl PgExecutor<'_>, from: DateTime<Utc>) -> sqlx::Result<Vec<Class>> {
    sqlx::query_as!(
        Class,
        r#"WITH met AS (SELECT reason, export_id, count(*) FILTER (WHERE level = 'warning') AS attempts,
                               count(*) FILTER (WHERE level <> 'warning') AS files, min(at) AS first_at, max(at) AS last_at
                          FROM bulkhead.export_events
                         WHERE reason IS NOT NULL AND at >= $1 AND (level = 'warning' OR stage IN ('download', 'search', 'load'))
                         GROUP BY reason, export_id)
           SELECT m.reason AS "reason!", sum(m.attempts)::bigint AS "attempts!", sum(m.files)::bigint AS "files!", count(*) AS "exports!",
                  count(DISTINCT e.source_id) AS "sources!", min(m.first_at) AS "first_at!", max(m.last_at) AS "last_at!"
             FROM met m JOIN bulkhead.exports e ON e.id = m.export_id
            GROUP BY m.reason ORDER BY sum(m.attempts) + sum(m.files) DESC, m.reason"#,
        from
    )
    .fetch_all(db)
    .await
}

/// How often a class was met at a server.
#[derive(Debug)]
pub struct AtSource {
    pub reason: String,
    pub base_url: String,
    pub count: i64,
}

/// The servers at which each class was met most since `from`, a few of each.
pub async fn sources(db: impl PgExecutor<'_>, from: DateTime<Utc>, most: i64) -> sqlx::Result<Vec<AtSource>> {
    sqlx::query_as!(
        AtSource,
        r#"WITH met AS (SELECT reason, export_id, count(*) AS n FROM bulkhead.export_events
                         WHERE reason IS NOT NULL AND at >= $1 AND (level = 'warning' OR stage IN ('download', 'search', 'load'))
                         GROUP BY reason, export_id),
                placed AS (SELECT m.reason, s.base_url, sum(m.n)::bigint AS n,
                                  row_number() OVER (PARTITION BY m.reason ORDER BY sum(m.n) DESC, s.base_url) AS place
                             FROM met m JOIN bulkhead.exports e ON e.id = m.export_id JOIN bulkhead.sources s ON s.id = e.source_id
                            GROUP BY m.reason, s.base_url)
           SELECT reason AS "reason!", base_url AS "base_url!", n AS "count!" FROM placed WHERE place <= $2 ORDER BY reason, place"#,
        from,
        most
    )
    .fetch_all(db)
    .await
}
