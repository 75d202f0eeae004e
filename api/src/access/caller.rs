//! Who calls.

use axum::{extract::FromRequestParts, http::request::Parts};
use bulkhead_shared::{
    db::{api_tokens, sessions},
    domain::{
        audit::{Actor, ActorKind},
        role::Role,
    },
};
use uuid::Uuid;

use super::OPEN_ROLE;
use crate::{ApiState, problem::Problem};

/// Who calls. A handler that takes it is on a route that says what it needs: nothing else provides it.
#[derive(Debug, Clone)]
pub struct Caller {
    pub actor: Actor,
    pub role: Role,
    /// Of who has logged in.
    pub session: Option<Session>,
}

/// A session that a request came with.
#[derive(Clone)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    /// What a form must bring.
    pub csrf: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

impl Caller {
    /// Somebody who is not asked.
    pub fn open(address: Option<std::net::IpAddr>) -> Self {
        Self { actor: Actor::open(address), role: OPEN_ROLE, session: None }
    }

    /// Whether they may do what needs this role.
    pub const fn may(&self, role: Role) -> bool {
        self.role.may(role)
    }

    /// What their forms must bring; empty where there is no session to protect.
    pub fn csrf(&self) -> &str {
        self.session.as_ref().map_or("", |session| &session.csrf)
    }
}

/// Whether who was let in would be let in again, as the same: for a stream, which asks every few seconds. Being asked is no use of a session.
pub async fn still_valid(state: &ApiState, caller: &Caller) -> Result<bool, Problem> {
    let now = match (&caller.session, caller.actor.kind, caller.actor.id) {
        (Some(session), ..) => sessions::role(&state.pool, session.id, state.access.session_idle).await?,
        (None, ActorKind::Token, Some(token)) => api_tokens::role(&state.pool, token).await?,
        _ => Some(caller.role),
    };
    Ok(now == Some(caller.role))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a route without a caller asks who calls"))
    }
}

impl<S: Send + Sync> axum::extract::OptionalFromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
