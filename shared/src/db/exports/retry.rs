//! Many failed exports retried at once: the database's own function, the same that operators use in psql. SQLSTATE `22023`: its filters
//! contradict each other or none is given.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::failure::Reason;

/// Which failed exports; `None` = any.
#[derive(Debug, Default, Clone)]
pub struct FailedFilter {
    pub group_id: Option<String>,
    pub base_url: Option<String>,
    pub reason: Option<Reason>,
    /// When it failed.
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// All of them are meant, when nothing else is given.
    pub all: bool,
}

/// One that matches, and what became of it.
#[derive(Debug)]
pub struct Matched {
    pub id: Uuid,
    pub base_url: String,
    pub group_id: Option<String>,
    pub reason: String,
    pub failed_at: DateTime<Utc>,
    /// Why it was not retried; `None`: it was.
    pub why_not: Option<String>,
}

/// What would be retried: how many match, how many of them would be, and the first few, the last that failed first.
pub async fn would_retry(db: impl PgExecutor<'_>, filter: &FailedFilter, shown: i64) -> sqlx::Result<(i64, i64, Vec<Matched>)> {
    let rows = sqlx::query!(
        r#"SELECT etl_job_id AS "id!", server AS "base_url!", "group" AS group_id, failure AS "reason!", failed_at AS "failed_at!", why AS why_not,
                  count(*) OVER () AS "matched!", count(*) FILTER (WHERE why IS NULL) OVER () AS "would!"
             FROM bulkhead.retry_failed(group_id => $1, source => $2, reason => $3, since => $4, until => $5, everything => $6,
                                        dry_run => true, most => 2147483647)
            ORDER BY failed_at DESC, etl_job_id DESC LIMIT $7"#,
        filter.group_id,
        filter.base_url,
        filter.reason.map(Reason::as_str),
        filter.since,
        filter.until,
        filter.all,
        shown
    )
    .fetch_all(db)
    .await?;
    let (matched, would) = rows.first().map_or((0, 0), |row| (row.matched, row.would));
    let shown = rows.into_iter().map(|row| Matched {
        id: row.id,
        base_url: row.base_url,
        group_id: row.group_id,
        reason: row.reason,
        failed_at: row.failed_at,
        why_not: row.why_not,
    });
    Ok((matched, would, shown.collect()))
}

/// Retries the next few, in one transaction: those after `below` (a failure's time and its export), the last that failed first.
pub async fn retry_some(
    db: impl PgExecutor<'_>,
    filter: &FailedFilter,
    below: Option<(DateTime<Utc>, Uuid)>,
    most: i32,
) -> sqlx::Result<Vec<Matched>> {
    sqlx::query_as!(
        Matched,
        r#"SELECT etl_job_id AS "id!", server AS "base_url!", "group" AS group_id, failure AS "reason!", failed_at AS "failed_at!", why AS why_not
             FROM bulkhead.retry_failed(group_id => $1, source => $2, reason => $3, since => $4, until => $5, everything => $6,
                                        most => $7, below => $8)"#,
        filter.group_id,
        filter.base_url,
        filter.reason.map(Reason::as_str),
        filter.since,
        below.map_or(filter.until, |(at, _)| Some(at)),
        filter.all,
        most,
        below.map(|(_, id)| id)
    )
    .fetch_all(db)
    .await
}
