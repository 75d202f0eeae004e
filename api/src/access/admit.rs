//! The door before each route: who calls, and may they.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bulkhead_shared::{
    db::{
        api_tokens,
        audit_log::{self, Entry},
        sessions,
    },
    domain::{
        audit::{Act, Actor, ActorKind, ObjectKind},
        role::Role,
    },
};
use serde_json::json;

use super::{ApiAuth, Caller, Needs, Session, client, cookie, csrf, secret};
use crate::{
    ApiState,
    problem::{Kind, Problem},
};

/// Which of the two faces a route belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Api,
    Pages,
}

/// A route's door.
#[derive(Clone)]
pub struct Door {
    pub state: Arc<ApiState>,
    pub surface: Surface,
    pub needs: Needs,
}

/// Lets in who may, as a [`Caller`]; tells the others what to do. The answer knows the caller too: a page of a refusal greets them.
pub async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let address = client(request.extensions(), request.headers(), &door.state.access.trusted_proxies);
    let caller = match door.who(request.headers(), address).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let mut response = match door.look(request, caller.as_ref()).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(caller) = caller {
        response.extensions_mut().insert(caller);
    }
    response
}

impl Door {
    /// Who comes, where it matters.
    async fn who(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Option<Caller>, Problem> {
        match self.needs {
            Needs::Nothing => Ok(None),
            Needs::Greeting => Ok(self.caller(headers, address).await.unwrap_or_default()),
            Needs::Role(_) => self.caller(headers, address).await?.ok_or_else(unknown).map(Some),
        }
    }

    /// Whether they may; the request then knows the caller.
    async fn look(&self, mut request: Request, caller: Option<&Caller>) -> Result<Request, Problem> {
        let Some(caller) = caller else { return Ok(request) };
        if let Needs::Role(needed) = self.needs {
            if !caller.may(needed) {
                let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
                let route = format!("{} {route}", request.method());
                self.note_refusal(caller, needed, &route).await;
                return Err(forbidden(caller.role, needed));
            }
            let unsafe_method = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
            if unsafe_method && let Some(session) = &caller.session {
                request = csrf::check(request, &session.csrf).await.ok_or_else(forged)?;
            }
        }
        request.extensions_mut().insert(caller.clone());
        Ok(request)
    }

    async fn caller(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Option<Caller>, Problem> {
        let access = &self.state.access;
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            return self.by_token(given, address).await.map(Some);
        }
        let mode = match self.surface {
            Surface::Api => access.api,
            Surface::Pages => access.pages,
        };
        // An open API asks nobody, also not a browser that happens to have a cookie from the pages.
        let cookies = !(self.surface == Surface::Api && mode == ApiAuth::Open);
        if cookies && let Some(caller) = self.by_cookie(headers, address).await? {
            return Ok(Some(caller));
        }
        Ok((mode == ApiAuth::Open).then(|| Caller::open(address)))
    }

    async fn by_token(&self, given: &HeaderValue, address: Option<IpAddr>) -> Result<Caller, Problem> {
        let Some(token) = given.to_str().ok().and_then(bearer) else { return Err(no_bearer()) };
        let Some(found) = api_tokens::get(&self.state.pool, &secret::hash(token)).await? else { return Err(bad_token()) };
        if found.stale {
            api_tokens::used(&self.state.pool, found.id).await?;
        }
        let name = found.owner.map_or_else(|| found.name.clone(), |owner| format!("{owner}/{}", found.name));
        Ok(Caller { actor: Actor { kind: ActorKind::Token, id: Some(found.id), name, address }, role: found.role, session: None })
    }

    async fn by_cookie(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Option<Caller>, Problem> {
        let Some(cookie) = cookie::read(headers) else { return Ok(None) };
        let found = sessions::get(&self.state.pool, &secret::hash(cookie), self.state.access.session_idle).await?;
        let Some(found) = found else { return Ok(None) };
        if found.stale && !is_by_itself(headers) {
            sessions::used(&self.state.pool, found.id).await?;
        }
        let session = Session { id: found.id, user_id: found.user_id, csrf: csrf::of(cookie) };
        let actor = Actor { kind: ActorKind::User, id: Some(found.user_id), name: found.name, address };
        Ok(Some(Caller { actor, role: found.role, session: Some(session) }))
    }

    /// Refused in any case; if it cannot be written down, the log says so.
    async fn note_refusal(&self, caller: &Caller, needed: Role, route: &str) {
        let entry = Entry::of(Act::Refused, ObjectKind::Page, route).with(json!({ "needs": needed }));
        if let Err(error) = audit_log::insert(&self.state.pool, &caller.actor, &entry).await {
            tracing::error!(%error, "a refusal could not be written to the audit log");
        }
    }
}

/// What an open page asks for by itself to stay up to date (its `#live`, by htmx) is no use of the session: a browser that nobody sits at ends it.
fn is_by_itself(headers: &HeaderMap) -> bool {
    headers.get("hx-source").is_some_and(|source| source.as_bytes().ends_with(b"#live"))
}

/// The token of `Bearer <token>`.
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unknown() -> Problem {
    Problem::new(
        Kind::Unauthenticated,
        "Say who you are: send `Authorization: Bearer bulkhead_...`. A token is made on the page Tokens, or with `bulkhead-api tokens add`.",
    )
}

fn no_bearer() -> Problem {
    Problem::new(
        Kind::Unauthenticated,
        "The Authorization header is not `Bearer <token>`, and nothing else is taken. A token is made on the page Tokens, or with \
         `bulkhead-api tokens add`.",
    )
}

fn bad_token() -> Problem {
    Problem::new(
        Kind::Unauthenticated,
        "This token is not known, has expired, or is revoked. Make a new one on the page Tokens, or with `bulkhead-api tokens add`.",
    )
}

fn forbidden(role: Role, needed: Role) -> Problem {
    Problem::new(
        Kind::Forbidden,
        format!("This needs the role {needed}, and yours is {role}. Ask an admin for that role, or use a token that has it."),
    )
}

fn forged() -> Problem {
    Problem::new(
        Kind::CsrfToken,
        "The request came with a session's cookie and without its CSRF token: the page was open too long, or it is not ours. Reload the \
         page and try again; programs use a token (`Authorization: Bearer`).",
    )
}
