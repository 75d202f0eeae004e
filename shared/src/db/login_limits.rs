//! Table `login_limits`: how fast somebody may try passwords, over all replicas.

use std::time::Duration;

use sqlx::{PgExecutor, PgPool};

use crate::db::interval;

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Name,
    Address,
    /// A name from an address.
    Both,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Address => "address",
            Self::Both => "both",
        }
    }
}

/// An attempt: one in `every`, `burst` of them at once.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub every: Duration,
    pub burst: u32,
}

/// Counts an attempt, unless it comes too early: then how long to wait. Attempts at once wait for each other's row, so that none slips past.
pub async fn attempt(db: &PgPool, kind: Kind, key: &[u8], limit: Limit) -> sqlx::Result<Option<Duration>> {
    let (every, window) = (interval(limit.every), interval(limit.every * limit.burst));
    let counted = sqlx::query_scalar!(
        r#"INSERT INTO bulkhead.login_limits AS l (kind, key, full_at) VALUES ($1, $2, clock_timestamp() + $3)
           ON CONFLICT (kind, key) DO UPDATE SET full_at = greatest(l.full_at, clock_timestamp()) + $3
            WHERE greatest(l.full_at, clock_timestamp()) + $3 <= clock_timestamp() + $4::interval
           RETURNING true AS "yes!""#,
        kind.as_str(),
        key,
        every,
        window
    )
    .fetch_optional(db)
    .await?;
    if counted.is_some() {
        return Ok(None);
    }
    let seconds = sqlx::query_scalar!(
        r#"SELECT extract(epoch FROM full_at + $3::interval - $4::interval - clock_timestamp())::float8 AS "seconds!"
             FROM bulkhead.login_limits WHERE kind = $1 AND key = $2"#,
        kind.as_str(),
        key,
        every,
        window
    )
    .fetch_optional(db)
    .await?;
    Ok(Some(Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default()))
}

/// The password was right: this one begins anew.
pub async fn forget(db: impl PgExecutor<'_>, kind: Kind, key: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM bulkhead.login_limits WHERE kind = $1 AND key = $2", kind.as_str(), key).execute(db).await?;
    Ok(())
}

/// Forgets those that limit nobody any more.
pub async fn purge(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM bulkhead.login_limits WHERE full_at < clock_timestamp()").execute(db).await?;
    Ok(())
}
