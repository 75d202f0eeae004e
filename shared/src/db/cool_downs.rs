//! Table `cool_downs`: servers that want to be left alone for a while, an operation each.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::interval;

/// When an operation may be asked for again, and the server's words.
#[derive(Debug, Clone)]
pub struct CoolDown {
    pub until: DateTime<Utc>,
    pub words: String,
    /// From now.
    pub left: Duration,
}

/// The server refuses an operation of a source for so long. A longer refusal that is known stays.
pub async fn set(db: impl PgExecutor<'_>, source_id: Uuid, operation: &str, delay: Duration, words: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO bulkhead.cool_downs AS known (source_id, operation, until, words) VALUES ($1, $2, clock_timestamp() + $3, $4)
         ON CONFLICT (source_id, md5(operation)) DO UPDATE
            SET until = greatest(known.until, excluded.until), words = excluded.words",
        source_id,
        operation,
        interval(delay),
        words
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether an operation was refused so a short while ago, too.
pub async fn was_just(db: impl PgExecutor<'_>, source_id: Uuid, operation: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bulkhead.cool_downs
                           WHERE source_id = $1 AND md5(operation) = md5($2) AND operation = $2
                             AND until > clock_timestamp() - interval '1 minute') AS "just!""#,
        source_id,
        operation
    )
    .fetch_one(db)
    .await
}

/// The cool-down of an operation, while it lasts.
pub async fn current(db: impl PgExecutor<'_>, source_id: Uuid, operation: &str) -> sqlx::Result<Option<CoolDown>> {
    let row = sqlx::query!(
        r#"SELECT until, words, extract(epoch FROM until - clock_timestamp())::float8 AS "left!" FROM bulkhead.cool_downs
            WHERE source_id = $1 AND md5(operation) = md5($2) AND operation = $2 AND until > clock_timestamp()"#,
        source_id,
        operation
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| CoolDown { until: row.until, words: row.words, left: Duration::try_from_secs_f64(row.left).unwrap_or_default() }))
}

/// All that last, the soonest over first.
pub async fn of_source(db: impl PgExecutor<'_>, source_id: Uuid) -> sqlx::Result<Vec<(String, CoolDown)>> {
    let rows = sqlx::query!(
        r#"SELECT operation, until, words, extract(epoch FROM until - clock_timestamp())::float8 AS "left!" FROM bulkhead.cool_downs
            WHERE source_id = $1 AND until > clock_timestamp() ORDER BY until LIMIT 100"#,
        source_id
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                row.operation,
                CoolDown { until: row.until, words: row.words, left: Duration::try_from_secs_f64(row.left).unwrap_or_default() },
            )
        })
        .collect())
}
