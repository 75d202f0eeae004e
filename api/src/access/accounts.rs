//! Users, their sessions, and tokens: made, changed and revoked, by a page or by the command line; each with its line in the audit log,
//! in the same transaction.

use std::time::Duration;

use bulkhead_shared::{
    db::{
        api_tokens::{self, NewToken},
        audit_log::{self, Entry},
        sessions,
        users::{self, User},
    },
    domain::{
        audit::{Act, Actor, ObjectKind},
        role::Role,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    password::{self, Unfit},
    secret,
};

const LONGEST_NAME: usize = 64;

/// Why it is not done, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("a name has 1 to {LONGEST_NAME} characters, without line breaks")]
    Name,
    #[error("there is a user or a token of this name already; choose another name, or revoke the old token first")]
    Taken,
    #[error(transparent)]
    Password(#[from] Unfit),
    #[error("this is the last admin; make another user an admin first")]
    LastAdmin,
    #[error("a token may not do more than who makes it; choose a lesser role")]
    TooMuch,
    #[error("there is no such user; `bulkhead-api users list` lists those there are")]
    NoUser,
    #[error("there is no such token, or it is revoked; `bulkhead-api tokens list` lists those there are")]
    NoToken,
    #[error("there is no such session; `bulkhead-api users sessions NAME` lists those there are")]
    NoSession,
    #[error(transparent)]
    Database(sqlx::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some("23505") => Self::Taken,
            Some("55000") => Self::LastAdmin,
            _ => Self::Database(error),
        }
    }
}

type Done<T> = Result<T, AccountError>;

/// A name without the space around it.
fn named(name: &str) -> Done<&str> {
    let name = name.trim();
    let good = !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control);
    good.then_some(name).ok_or(AccountError::Name)
}

/// A new user.
pub async fn add_user(pool: &PgPool, actor: &Actor, name: &str, role: Role, password: SecretString) -> Done<Uuid> {
    let name = named(name)?;
    password::check(name, &password)?;
    let hash = password::hash(password).await?;
    let mut tx = pool.begin().await?;
    let id = users::insert(&mut *tx, name, role, &hash).await?;
    audit_log::insert(&mut *tx, actor, &Entry::of(Act::UserAdded, ObjectKind::User, name).with(json!({ "role": role }))).await?;
    tx.commit().await?;
    Ok(id)
}

/// Another password; all sessions end but `keep`. How many ended.
pub async fn set_password(pool: &PgPool, actor: &Actor, user: &User, password: SecretString, keep: Option<Uuid>) -> Done<u64> {
    password::check(&user.name, &password)?;
    let hash = password::hash(password).await?;
    let mut tx = pool.begin().await?;
    if !users::set_password(&mut *tx, user.id, &hash).await? {
        return Err(AccountError::NoUser);
    }
    let ended = sessions::revoke_all(&mut *tx, user.id, keep).await?;
    let entry = Entry::of(Act::PasswordChanged, ObjectKind::User, &user.name).with(json!({ "sessions_ended": ended }));
    audit_log::insert(&mut *tx, actor, &entry).await?;
    tx.commit().await?;
    Ok(ended)
}

/// Another role, at once in all sessions and for all tokens.
pub async fn set_role(pool: &PgPool, actor: &Actor, user: &User, role: Role) -> Done<()> {
    let mut tx = pool.begin().await?;
    if users::set_role(&mut *tx, user.id, role).await? {
        let entry = Entry::of(Act::RoleChanged, ObjectKind::User, &user.name).with(json!({ "from": user.role, "to": role }));
        audit_log::insert(&mut *tx, actor, &entry).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// May log in no more, and is out; or may again.
pub async fn set_disabled(pool: &PgPool, actor: &Actor, user: &User, disabled: bool) -> Done<()> {
    let mut tx = pool.begin().await?;
    if users::set_disabled(&mut *tx, user.id, disabled).await? {
        let act = if disabled { Act::UserDisabled } else { Act::UserEnabled };
        let ended = if disabled { sessions::revoke_all(&mut *tx, user.id, None).await? } else { 0 };
        let entry = Entry::of(act, ObjectKind::User, &user.name).with(json!({ "sessions_ended": ended }));
        audit_log::insert(&mut *tx, actor, &entry).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Ends one session of a user.
pub async fn revoke_session(pool: &PgPool, actor: &Actor, user: (Uuid, &str), session: Uuid) -> Done<()> {
    let mut tx = pool.begin().await?;
    if !sessions::revoke(&mut *tx, user.0, session).await? {
        return Err(AccountError::NoSession);
    }
    let entry = Entry::of(Act::SessionRevoked, ObjectKind::User, user.1).with(json!({ "session": session }));
    audit_log::insert(&mut *tx, actor, &entry).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends all sessions of a user but `keep`; how many.
pub async fn revoke_sessions(pool: &PgPool, actor: &Actor, user: (Uuid, &str), keep: Option<Uuid>) -> Done<u64> {
    let mut tx = pool.begin().await?;
    let ended = sessions::revoke_all(&mut *tx, user.0, keep).await?;
    let entry = Entry::of(Act::SessionRevoked, ObjectKind::User, user.1).with(json!({ "sessions_ended": ended }));
    audit_log::insert(&mut *tx, actor, &entry).await?;
    tx.commit().await?;
    Ok(ended)
}

/// A token to make.
#[derive(Debug)]
pub struct TokenWanted<'a> {
    pub name: &'a str,
    pub role: Role,
    /// Whose, and what they may; None: the installation's own.
    pub owner: Option<(Uuid, Role)>,
    /// None: for good.
    pub lifetime: Option<Duration>,
}

/// Makes a token. It is shown now and never again.
pub async fn add_token(pool: &PgPool, actor: &Actor, wanted: &TokenWanted<'_>) -> Done<SecretString> {
    let name = named(wanted.name)?;
    if wanted.owner.is_some_and(|(_, may)| !may.may(wanted.role)) {
        return Err(AccountError::TooMuch);
    }
    let token = secret::token();
    let new = NewToken {
        name,
        token_hash: &secret::hash(token.expose_secret()),
        role: wanted.role,
        user_id: wanted.owner.map(|(id, _)| id),
        lifetime: wanted.lifetime,
    };
    let mut tx = pool.begin().await?;
    let id = api_tokens::insert(&mut *tx, &new).await?;
    let days = wanted.lifetime.map(|lifetime| lifetime.as_secs() / 86_400);
    let entry = Entry::of(Act::TokenAdded, ObjectKind::Token, name).with(json!({ "id": id, "role": wanted.role, "days": days }));
    audit_log::insert(&mut *tx, actor, &entry).await?;
    tx.commit().await?;
    Ok(token)
}

/// Revokes a token: any, or only one of this user's.
pub async fn revoke_token(pool: &PgPool, actor: &Actor, id: Uuid, of: Option<Uuid>) -> Done<()> {
    let mut tx = pool.begin().await?;
    let Some(name) = api_tokens::revoke(&mut *tx, id, of).await? else { return Err(AccountError::NoToken) };
    audit_log::insert(&mut *tx, actor, &Entry::of(Act::TokenRevoked, ObjectKind::Token, &name).with(json!({ "id": id }))).await?;
    tx.commit().await?;
    Ok(())
}
