//! What failed in some time, by the class of the failure.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, postgres::types::PgInterval};

use crate::db::export_events::troubles::{AtSource, Bar};

/// How many exports failed for each reason, by spans of `step` since `from`. Those that were retried since are not among them.
pub async fn failure_bars(db: impl PgExecutor<'_>, from: DateTime<Utc>, step: PgInterval) -> sqlx::Result<Vec<Bar>> {
    sqlx::query_as!(
        Bar,
        r#"SELECT date_bin($2, finished_at, $1) AS "at!", failure_reason AS "reason!", count(*) AS "count!" FROM bulkhead.exports
            WHERE state = 'failed' AND purpose = 'export' AND delete_requested_at IS NULL AND finished_at >= $1
            GROUP BY 1, 2 ORDER BY 1, 2"#,
        from,
        step
    )
    .fetch_all(db)
    .await
}

/// Exports that failed for one reason.
#[derive(Debug)]
pub struct FailureClass {
    pub reason: String,
    pub exports: i64,
    pub sources: i64,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

/// The reasons for which exports failed since `from`, the most frequent first.
pub async fn failure_classes(db: impl PgExecutor<'_>, from: DateTime<Utc>) -> sqlx::Result<Vec<FailureClass>> {
    sqlx::query_as!(
        FailureClass,
        r#"WITH failed AS (SELECT failure_reason, source_id, count(*) AS n, min(finished_at) AS first_at, max(finished_at) AS last_at
                             FROM bulkhead.exports
                            WHERE state = 'failed' AND purpose = 'export' AND delete_requested_at IS NULL AND finished_at >= $1
                            GROUP BY 1, 2)
           SELECT failure_reason AS "reason!", sum(n)::bigint AS "exports!", count(*) AS "sources!", min(first_at) AS "first_at!",
                  max(last_at) AS "last_at!"
             FROM failed GROUP BY 1 ORDER BY sum(n) DESC, 1"#,
        from
    )
    .fetch_all(db)
    .await
}

/// The servers at which most failed for each reason since `from`, a few of each.
pub async fn failure_sources(db: impl PgExecutor<'_>, from: DateTime<Utc>, most: i64) -> sqlx::Result<Vec<AtSource>> {
    sqlx::query_as!(
        AtSource,
        r#"WITH failed AS (SELECT failure_reason AS reason, source_id, count(*) AS n FROM bulkhead.exports
                            WHERE state = 'failed' AND purpose = 'export' AND delete_requested_at IS NULL AND finished_at >= $1
                            GROUP BY 1, 2),
                placed AS (SELECT f.reason, s.base_url, sum(f.n)::bigint AS n,
                                  row_number() OVER (PARTITION BY f.reason ORDER BY sum(f.n) DESC, s.base_url) AS place
                             FROM failed f JOIN bulkhead.sources s ON s.id = f.source_id GROUP BY f.reason, s.base_url)
           SELECT reason AS "reason!", base_url AS "base_url!", n AS "count!" FROM placed WHERE place <= $2 ORDER BY reason, place"#,
        from,
        most
    )
    .fetch_all(db)
    .await
}
