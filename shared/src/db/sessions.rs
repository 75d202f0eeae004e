//! Table `sessions`: who is logged in. Lifetimes are Postgres' business, so that replicas agree.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{db::interval, domain::role::Role};

/// A new one.
#[derive(Debug)]
pub struct NewSession<'a> {
    pub user_id: Uuid,
    /// SHA-256 of the cookie.
    pub token_hash: &'a [u8],
    pub address: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    /// However much it is used.
    pub lifetime: Duration,
}

/// Begins.
pub async fn insert(db: impl PgExecutor<'_>, new: &NewSession<'_>) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!(
        "INSERT INTO bulkhead.sessions (user_id, token_hash, address, user_agent, expires_at)
         VALUES ($1, $2, $3, $4, clock_timestamp() + $5) RETURNING id",
        new.user_id,
        new.token_hash,
        new.address,
        new.user_agent,
        interval(new.lifetime)
    )
    .fetch_one(db)
    .await
}

/// Whose it is.
#[derive(Debug)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: String,
    pub role: Role,
    /// Its use is to be written down: the last time is more than a minute ago.
    pub stale: bool,
}

/// The session of a cookie, unless it is over or its user may log in no more. `idle`: how long it may be left alone.
pub async fn get(db: impl PgExecutor<'_>, token_hash: &[u8], idle: Duration) -> sqlx::Result<Option<Session>> {
    let row = sqlx::query!(
        r#"SELECT s.id, u.id AS user_id, u.name, u.role,
                  s.last_used_at < clock_timestamp() - least(interval '1 minute', $2::interval / 10) AS "stale!"
             FROM bulkhead.sessions s JOIN bulkhead.users u ON u.id = s.user_id
            WHERE s.token_hash = $1 AND u.disabled_at IS NULL
              AND s.expires_at > clock_timestamp() AND s.last_used_at > clock_timestamp() - $2::interval"#,
        token_hash,
        interval(idle)
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| Ok(Session { id: r.id, user_id: r.user_id, name: r.name, role: r.role.parse()?, stale: r.stale })).transpose()
}

/// What the user of a session may now, unless it is over: for what lasts longer than a request, and is no use of it.
pub async fn role(db: impl PgExecutor<'_>, id: Uuid, idle: Duration) -> sqlx::Result<Option<Role>> {
    let word = sqlx::query_scalar!(
        "SELECT u.role FROM bulkhead.sessions s JOIN bulkhead.users u ON u.id = s.user_id
          WHERE s.id = $1 AND u.disabled_at IS NULL
            AND s.expires_at > clock_timestamp() AND s.last_used_at > clock_timestamp() - $2::interval",
        id,
        interval(idle)
    )
    .fetch_optional(db)
    .await?;
    word.map(|word| Ok(word.parse()?)).transpose()
}

/// It is used now.
pub async fn used(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.sessions SET last_used_at = clock_timestamp() WHERE id = $1", id).execute(db).await?;
    Ok(())
}

/// A session in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: Uuid,
    pub address: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A user's, the last used first.
pub async fn of_user(db: impl PgExecutor<'_>, user_id: Uuid, idle: Duration) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        "SELECT id, address, user_agent, created_at, last_used_at, expires_at FROM bulkhead.sessions
          WHERE user_id = $1 AND expires_at > clock_timestamp() AND last_used_at > clock_timestamp() - $2::interval
          ORDER BY last_used_at DESC, id",
        user_id,
        interval(idle)
    )
    .fetch_all(db)
    .await
}

/// How many each user has; who has none is left out.
pub async fn counts(db: impl PgExecutor<'_>, idle: Duration) -> sqlx::Result<Vec<(Uuid, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT user_id, count(*) AS "n!" FROM bulkhead.sessions
            WHERE expires_at > clock_timestamp() AND last_used_at > clock_timestamp() - $1::interval GROUP BY user_id"#,
        interval(idle)
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.user_id, r.n)).collect())
}

/// Ends one of a user's. `false`: the user has no such session.
pub async fn revoke(db: impl PgExecutor<'_>, user_id: Uuid, id: Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!("DELETE FROM bulkhead.sessions WHERE id = $1 AND user_id = $2", id, user_id).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all of a user's, but one if one is named; how many.
pub async fn revoke_all(db: impl PgExecutor<'_>, user_id: Uuid, but: Option<Uuid>) -> sqlx::Result<u64> {
    let done =
        sqlx::query!("DELETE FROM bulkhead.sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2", user_id, but).execute(db).await?;
    Ok(done.rows_affected())
}

/// Forgets those that are over.
pub async fn purge(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM bulkhead.sessions WHERE expires_at < clock_timestamp()").execute(db).await?;
    Ok(())
}
