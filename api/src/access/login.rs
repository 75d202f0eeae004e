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

/// For one name from one address: ten at once, then one in half a minute.
const BY_BOTH: Limit = Limit { every: Duration::from_secs(30), burst: 10 };
/// For one name from wherever: sixty at once, then one in ten seconds. Wider than from one address, so that no single machine can keep
/// somebody out by trying wrong passwords.
const BY_NAME: Limit = Limit { every: Duration::from_secs(10), burst: 60 };
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

/// Whether somebody who is in knows the password.
#[derive(Debug)]
pub enum Confirmed {
    Yes,
    No,
    /// Too many attempts: come again then.
    Wait(Duration),
}

/// Tries. An attempt is counted before the password is looked at, so that attempts at once do not slip past.
pub async fn log_in(state: &ApiState, attempt: Attempt<'_>) -> Result<Outcome, Problem> {
    let name = attempt.name.trim();
    tidy(state).await;
    if let Some(wait) = too_many(state, name, attempt.address).await? {
        return Ok(Outcome::Wait(wait));
    }
    let known = users::credentials(&state.pool, name).await?;
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let Ok(right) = password::is_right(attempt.password.clone(), hash).await else { return Ok(Outcome::Wait(password::LONGEST_WAIT)) };
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
    login_limits::forget(&mut *tx, Kind::Both, &key_of_both(name, attempt.address)).await?;
    let actor = Actor { kind: ActorKind::User, id: Some(user.id), name: user.name.clone(), address: attempt.address };
    audit_log::insert(&mut *tx, &actor, &Entry::of(Act::LoggedIn, ObjectKind::User, &user.name)).await?;
    tx.commit().await?;
    Ok(Outcome::In(token))
}

/// Whether this is the password of somebody who is in; counted as logins are, so that a borrowed session does not help to guess it.
pub async fn confirm(state: &ApiState, caller: &Caller, password: SecretString) -> Result<Confirmed, Problem> {
    let name = caller.actor.name.as_str();
    if let Some(wait) = too_many(state, name, caller.actor.address).await? {
        return Ok(Confirmed::Wait(wait));
    }
    let hash = users::credentials(&state.pool, name).await?.map(|known| known.password_hash);
    Ok(match password::is_right(password, hash).await {
        Ok(true) => {
            login_limits::forget(&state.pool, Kind::Both, &key_of_both(name, caller.actor.address)).await?;
            Confirmed::Yes
        }
        Ok(false) => Confirmed::No,
        Err(_) => Confirmed::Wait(password::LONGEST_WAIT),
    })
}

/// Counts an attempt: first from where it comes, so that a flood from one machine does not count against the names it tries.
async fn too_many(state: &ApiState, name: &str, address: Option<IpAddr>) -> Result<Option<Duration>, Problem> {
    let by_address = address.map(|address| (Kind::Address, key(&neighbourhood(address)), BY_ADDRESS));
    let by_name = [(Kind::Both, key_of_both(name, address), BY_BOTH), (Kind::Name, key(&name.to_lowercase()), BY_NAME)];
    for (kind, key, limit) in by_address.into_iter().chain(by_name) {
        if let Some(wait) = login_limits::attempt(&state.pool, kind, &key, limit).await? {
            tracing::warn!(address = address.map(tracing::field::display), "too many logins are tried");
            return Ok(Some(wait));
        }
    }
    Ok(None)
}

fn key(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn key_of_both(name: &str, address: Option<IpAddr>) -> [u8; 32] {
    key(&format!("{}\0{}", address.map_or_else(String::new, neighbourhood), name.to_lowercase()))
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

/// What is over is forgotten; whether that succeeds is nothing to whoever logs in.
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
