//! Table `users`: people who may log in. SQLSTATE `55000`: the last admin would be gone; `23505`: the name is taken.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::role::Role;

/// A user, without the password.
#[derive(Debug, Clone)]
pub struct User {
    pub id: Uuid,
    pub name: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
    pub last_login_at: Option<DateTime<Utc>>,
    pub disabled_at: Option<DateTime<Utc>>,
}

/// A new one.
pub async fn insert(db: impl PgExecutor<'_>, name: &str, role: Role, password_hash: &str) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!(
        "INSERT INTO bulkhead.users (name, role, password_hash) VALUES ($1, $2, $3) RETURNING id",
        name,
        role.as_str(),
        password_hash
    )
    .fetch_one(db)
    .await
}

/// What a login compares. Never to be shown.
pub struct Credentials {
    pub id: Uuid,
    pub name: String,
    pub password_hash: String,
    pub disabled: bool,
}

/// Of the user with this name, however it is written.
pub async fn credentials(db: impl PgExecutor<'_>, name: &str) -> sqlx::Result<Option<Credentials>> {
    sqlx::query_as!(
        Credentials,
        r#"SELECT id, name, password_hash, disabled_at IS NOT NULL AS "disabled!" FROM bulkhead.users WHERE lower(name) = lower($1)"#,
        name
    )
    .fetch_optional(db)
    .await
}

/// By name, however it is written.
pub async fn by_name(db: impl PgExecutor<'_>, name: &str) -> sqlx::Result<Option<User>> {
    let row = sqlx::query!(
        "SELECT id, name, role, created_at, last_login_at, disabled_at FROM bulkhead.users WHERE lower(name) = lower($1)",
        name
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        let role = r.role.parse()?;
        Ok(User { id: r.id, name: r.name, role, created_at: r.created_at, last_login_at: r.last_login_at, disabled_at: r.disabled_at })
    })
    .transpose()
}

/// By id.
pub async fn by_id(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<User>> {
    let row = sqlx::query!("SELECT id, name, role, created_at, last_login_at, disabled_at FROM bulkhead.users WHERE id = $1", id)
        .fetch_optional(db)
        .await?;
    row.map(|r| {
        let role = r.role.parse()?;
        Ok(User { id: r.id, name: r.name, role, created_at: r.created_at, last_login_at: r.last_login_at, disabled_at: r.disabled_at })
    })
    .transpose()
}

/// All of them, by name.
pub async fn list(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<User>> {
    let rows = sqlx::query!("SELECT id, name, role, created_at, last_login_at, disabled_at FROM bulkhead.users ORDER BY lower(name)")
        .fetch_all(db)
        .await?;
    rows.into_iter()
        .map(|r| {
            let role = r.role.parse()?;
            Ok(User { id: r.id, name: r.name, role, created_at: r.created_at, last_login_at: r.last_login_at, disabled_at: r.disabled_at })
        })
        .collect()
}

/// Another password. `false`: there is no such user.
pub async fn set_password(db: impl PgExecutor<'_>, id: Uuid, password_hash: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.users SET password_hash = $2, password_changed_at = clock_timestamp() WHERE id = $1",
        id,
        password_hash
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Another role. `false`: it has that role, or there is no such user.
pub async fn set_role(db: impl PgExecutor<'_>, id: Uuid, role: Role) -> sqlx::Result<bool> {
    let done = sqlx::query!("UPDATE bulkhead.users SET role = $2 WHERE id = $1 AND role <> $2", id, role.as_str()).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// May log in no more, or again. `false`: that is so already, or there is no such user.
pub async fn set_disabled(db: impl PgExecutor<'_>, id: Uuid, disabled: bool) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.users SET disabled_at = CASE WHEN $2 THEN clock_timestamp() END WHERE id = $1 AND (disabled_at IS NOT NULL) <> $2",
        id,
        disabled
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The user logs in with the password behind this hash. `false`: it was changed meanwhile, or the user disabled. Holds the row, so that
/// a change of the password sees the session that follows, and ends it.
pub async fn logged_in(db: impl PgExecutor<'_>, id: Uuid, password_hash: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.users SET last_login_at = clock_timestamp() WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL",
        id,
        password_hash
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether there is any way in: a user who may log in, or a token that is good.
pub async fn anybody(db: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bulkhead.users WHERE disabled_at IS NULL)
               OR EXISTS (SELECT FROM bulkhead.api_tokens
                           WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())) AS "any!""#
    )
    .fetch_one(db)
    .await
}
