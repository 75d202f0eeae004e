//! Logging in and out. What a stranger can learn from it, the time it takes included, does not depend on whether a user exists.

use std::{net::IpAddr, time::Duration};

use bulkhead_shared::{
    db::{
        audit_log::{self, Entry},
        login_limits::{self, Kind, Limit},
        sessions::{self, NewSession},
        users,
    },
    domain::audit::{Act, Actor, ActorKind, ObjectKind},
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::{Caller, password, secret};
use crate::{ApiState, problem::Problem};

/// For one name: ten at once, then one in half a minute.
const BY_NAME: Limit = Limit { every: Duration::from_secs(30), burst: 10 };
/// For one address, which may be a whole hospital's: forty at once, then one in five seconds.
const BY_ADDRESS: Limit = Limit { every: Duration::from_secs(5), burst: 40 };
/// Of the browser's name, what is shown.
const LONGEST_AGENT: usize = 200;

/// Who wants in.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub name: &'a str,
    pub password: SecretString,
    pub address: Option<IpAddr>,
    pub user_agent: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The cookie.
    In(SecretString),
    /// The name or the password is wrong, or the user is disabled: nobody is told which.
    Wrong,
    /// Too many attempts: come again then.
    Wait(Duration),
}

/// Tries. An attempt is counted before the password is looked at, so that attempts at once do not slip past.
pub async fn log_in(state: &ApiState, attempt: Attempt<'_>) -> Result<Outcome, Problem> {
    let name = attempt.name.trim();
    let name_key: [u8; 32] = Sha256::digest(name.to_lowercase()).into();
    if let Some(wait) = too_many(state, &name_key, attempt.address).await? {
        tracing::warn!(address = attempt.address.map(tracing::field::display), "too many logins are tried");
        return Ok(Outcome::Wait(wait));
    }
    let known = users::credentials(&state.pool, name).await?;
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let right = password::is_right(attempt.password.clone(), hash).await.map_err(Problem::internal)?;
    let Some(user) = known.as_ref().filter(|user| right && !user.disabled) else {
        return failed(state, attempt.address, known.as_ref()).await;
    };
    let token = secret::session();
    let mut tx = state.pool.begin().await?;
    // The password may have been changed meanwhile, and the sessions of the old one ended.
    if !users::logged_in(&mut *tx, user.id, &user.password_hash).await? {
        tx.rollback().await?;
        return failed(state, attempt.address, Some(user)).await;
    }
    let address = attempt.address.map(|address| address.to_string());
    let agent = attempt.user_agent.map(|agent| agent.chars().take(LONGEST_AGENT).collect::<String>());
    let new = NewSession {
        user_id: user.id,
        token_hash: &secret::hash(token.expose_secret()),
        address: address.as_deref(),
        user_agent: agent.as_deref(),
        lifetime: state.access.session_lifetime,
    };
    sessions::insert(&mut *tx, &new).await?;
    login_limits::forget(&mut *tx, Kind::Name, &name_key).await?;
    let actor = Actor { kind: ActorKind::User, id: Some(user.id), name: user.name.clone(), address: attempt.address };
    audit_log::insert(&mut *tx, &actor, &Entry::of(Act::LoggedIn, ObjectKind::User, &user.name)).await?;
    tx.commit().await?;
    tidy(state).await;
    Ok(Outcome::In(token))
}

async fn too_many(state: &ApiState, name_key: &[u8], address: Option<IpAddr>) -> Result<Option<Duration>, Problem> {
    if let Some(address) = address {
        let key: [u8; 32] = Sha256::digest(neighbourhood(address)).into();
        if let Some(wait) = login_limits::attempt(&state.pool, Kind::Address, &key, BY_ADDRESS).await? {
            return Ok(Some(wait));
        }
    }
    Ok(login_limits::attempt(&state.pool, Kind::Name, name_key, BY_NAME).await?)
}

/// Of IPv6 the /64: one machine has all of it.
fn neighbourhood(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x?}/64", &address.segments()[..4]),
    }
}

/// A name that is nobody's is not written down: people type passwords into the wrong field.
async fn failed(state: &ApiState, address: Option<IpAddr>, user: Option<&users::Credentials>) -> Result<Outcome, Problem> {
    let entry = match user {
        Some(user) => Entry::of(Act::LoginFailed, ObjectKind::User, &user.name),
        None => Entry::bare(Act::LoginFailed),
    };
    audit_log::insert(&state.pool, &Actor::nobody(address), &entry).await?;
    Ok(Outcome::Wrong)
}

/// What is over is forgotten. The login has succeeded in any case.
async fn tidy(state: &ApiState) {
    let done = async {
        sessions::purge(&state.pool).await?;
        login_limits::purge(&state.pool).await
    };
    if let Err(error) = done.await {
        tracing::warn!(%error, "old sessions could not be cleaned up");
    }
}

/// Ends the session that the caller came with.
pub async fn log_out(state: &ApiState, caller: &Caller) -> Result<(), Problem> {
    let Some(session) = &caller.session else { return Ok(()) };
    let mut tx = state.pool.begin().await?;
    if sessions::revoke(&mut *tx, session.user_id, session.id).await? {
        audit_log::insert(&mut *tx, &caller.actor, &Entry::of(Act::LoggedOut, ObjectKind::User, &caller.actor.name)).await?;
    }
    tx.commit().await?;
    Ok(())
}
