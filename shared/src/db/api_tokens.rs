//! Table `api_tokens`: programs that may call. SQLSTATE `23505`: its owner has a token of that name.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{db::interval, domain::role::Role};

/// A new one.
#[derive(Debug)]
pub struct NewToken<'a> {
    pub name: &'a str,
    /// SHA-256 of the token.
    pub token_hash: &'a [u8],
    pub role: Role,
    /// None: the installation's own.
    pub user_id: Option<Uuid>,
    /// None: for good.
    pub lifetime: Option<Duration>,
}

/// It is good from now on.
pub async fn insert(db: impl PgExecutor<'_>, new: &NewToken<'_>) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!(
        "INSERT INTO bulkhead.api_tokens (name, token_hash, role, user_id, expires_at)
         VALUES ($1, $2, $3, $4, clock_timestamp() + $5::interval) RETURNING id",
        new.name,
        new.token_hash,
        new.role.as_str(),
        new.user_id,
        new.lifetime.map(interval)
    )
    .fetch_one(db)
    .await
}

/// A token that is good.
#[derive(Debug)]
pub struct Token {
    pub id: Uuid,
    pub name: String,
    /// Whose it is, by name.
    pub owner: Option<String>,
    /// What it may now: never more than its owner.
    pub role: Role,
    /// Its use is to be written down: the last time is more than a minute ago.
    pub stale: bool,
}

/// The token with this hash, unless it has expired, is revoked, or its owner may log in no more.
pub async fn get(db: impl PgExecutor<'_>, token_hash: &[u8]) -> sqlx::Result<Option<Token>> {
    let row = sqlx::query!(
        r#"SELECT t.id, t.name, t.role, u.name AS "owner?", u.role AS "owner_role?",
                  coalesce(t.last_used_at < clock_timestamp() - interval '1 minute', true) AS "stale!"
             FROM bulkhead.api_tokens t LEFT JOIN bulkhead.users u ON u.id = t.user_id
            WHERE t.token_hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
              AND u.disabled_at IS NULL"#,
        token_hash
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        let role = lesser(&r.role, r.owner_role.as_deref())?;
        Ok(Token { id: r.id, name: r.name, owner: r.owner, role, stale: r.stale })
    })
    .transpose()
}

/// What a token may now, unless it is good no longer: for what lasts longer than a request, and is no use of it.
pub async fn role(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<Role>> {
    let row = sqlx::query!(
        r#"SELECT t.role, u.role AS "owner_role?" FROM bulkhead.api_tokens t LEFT JOIN bulkhead.users u ON u.id = t.user_id
            WHERE t.id = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
              AND u.disabled_at IS NULL"#,
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| lesser(&r.role, r.owner_role.as_deref())).transpose()
}

/// Never more than its owner.
fn lesser(own: &str, of_owner: Option<&str>) -> sqlx::Result<Role> {
    let own: Role = own.parse()?;
    of_owner.map_or(Ok(own), |word| Ok(own.lesser(word.parse()?)))
}

/// It is used now.
pub async fn used(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.api_tokens SET last_used_at = clock_timestamp() WHERE id = $1", id).execute(db).await?;
    Ok(())
}

/// A token in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: Uuid,
    pub name: String,
    pub role: Role,
    pub user_id: Option<Uuid>,
    pub owner: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub expired: bool,
}

/// Those that are not revoked: everybody's, or one user's; the newest first.
pub async fn list(db: impl PgExecutor<'_>, of: Option<Uuid>) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query!(
        r#"SELECT t.id, t.name, t.role, t.user_id, u.name AS "owner?", t.created_at, t.expires_at, t.last_used_at,
                  coalesce(t.expires_at <= clock_timestamp(), false) AS "expired!"
             FROM bulkhead.api_tokens t LEFT JOIN bulkhead.users u ON u.id = t.user_id
            WHERE t.revoked_at IS NULL AND ($1::uuid IS NULL OR t.user_id = $1) ORDER BY t.created_at DESC, t.id"#,
        of
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            Ok(Listed {
                id: r.id,
                name: r.name,
                role: r.role.parse()?,
                user_id: r.user_id,
                owner: r.owner,
                created_at: r.created_at,
                expires_at: r.expires_at,
                last_used_at: r.last_used_at,
                expired: r.expired,
            })
        })
        .collect()
}

/// Good no longer: one of everybody's, or of one user's. Its name, unless there is no such token.
pub async fn revoke(db: impl PgExecutor<'_>, id: Uuid, of: Option<Uuid>) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "UPDATE bulkhead.api_tokens SET revoked_at = clock_timestamp()
          WHERE id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR user_id = $2) RETURNING name",
        id,
        of
    )
    .fetch_optional(db)
    .await
}
