//! `/account`: where one is logged in, and one's password.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, Request, State},
    http::header,
    response::{IntoResponse as _, Redirect},
};
use bulkhead_shared::db::{
    sessions::{self, Listed},
    users,
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    form,
    frame::Frame,
    notice::Notice,
    page::{Answer, page},
    user_agent,
};
use crate::{
    ApiState,
    access::{
        Caller, Session, accounts, cookie,
        login::{self, Confirmed},
    },
    problem::{Kind, Problem},
};

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
    notice: Notice,
    sessions: Sessions,
}

/// The browsers of a user (`templates/sessions.html`).
pub struct Sessions {
    pub list: Vec<Listed>,
    /// The one that looks.
    pub own: Option<Uuid>,
    /// Where their buttons lead: `{revoke}/{session}/revoke`.
    pub revoke: String,
}

impl Sessions {
    pub async fn of(state: &ApiState, user: Uuid, own: Option<Uuid>, revoke: String) -> Result<Self, Problem> {
        let mut list = sessions::of_user(&state.pool, user, state.access.session_idle).await?;
        list.sort_by_key(|session| Some(session.id) != own);
        Ok(Self { list, own, revoke })
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub fn browser(&self, frame: &Frame, session: &Listed) -> String {
        user_agent::plain(frame, session.user_agent.as_deref())
    }

    pub fn is_own(&self, session: &Listed) -> bool {
        self.own == Some(session.id)
    }
}

/// Nobody has an account where nobody is asked, and no program has one.
pub fn session(caller: &Caller) -> Result<&Session, Problem> {
    caller.session.as_ref().ok_or_else(|| Problem::new(Kind::NotFound, "Only who has logged in has an account and tokens of their own."))
}

pub async fn read(State(state): State<Arc<ApiState>>, caller: Caller, frame: Frame, Query(notice): Query<Notice>) -> Answer {
    let own = session(&caller)?;
    let sessions = Sessions::of(&state, own.user_id, Some(own.id), "/account/sessions".to_owned()).await?;
    page(&Account { frame, notice, sessions })
}

#[derive(Deserialize)]
struct Passwords {
    old: String,
    new: String,
    again: String,
}

/// Another password; all other browsers are out.
pub async fn password(State(state): State<Arc<ApiState>>, caller: Caller, request: Request) -> Answer {
    let own = session(&caller)?;
    let given: Passwords = form(request).await?;
    let bad = |word: &str| Ok(Notice::bad(word).to("/account"));
    if given.new != given.again {
        return bad("password-differs");
    }
    match login::confirm(&state, &caller, given.old.into()).await? {
        Confirmed::Yes => {}
        Confirmed::No => return bad("password-wrong"),
        Confirmed::Wait(_) => return bad("password-wait"),
    }
    let Some(user) = users::by_id(&state.pool, own.user_id).await? else { return bad("no-user") };
    match accounts::set_password(&state.pool, &caller.actor, &user, given.new.into(), Some(own.id)).await {
        Ok(_) => Ok(Notice::good("password-changed").to("/account")),
        Err(error) => Ok(Notice::of(error)?.to("/account")),
    }
}

/// Ends one session; if it is this one, the browser forgets it.
pub async fn revoke(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer {
    let own = session(&caller)?;
    let id = super::id(&id)?;
    if let Err(error) = accounts::revoke_session(&state.pool, &caller.actor, (own.user_id, &caller.actor.name), id).await {
        return Ok(Notice::of(error)?.to("/account"));
    }
    if id != own.id {
        return Ok(Notice::good("session-revoked").to("/account"));
    }
    let mut response = Redirect::to("/login").into_response();
    response.headers_mut().extend(cookie::clear(request.headers()).map(|cookie| (header::SET_COOKIE, cookie)));
    Ok(response)
}

/// Ends all sessions but this one.
pub async fn revoke_others(State(state): State<Arc<ApiState>>, caller: Caller) -> Answer {
    let own = session(&caller)?;
    let ended = accounts::revoke_sessions(&state.pool, &caller.actor, (own.user_id, &caller.actor.name), Some(own.id)).await;
    match ended {
        Ok(n) => Ok(Notice::good("sessions-revoked").with(i64::try_from(n).unwrap_or(i64::MAX)).to("/account")),
        Err(error) => Ok(Notice::of(error)?.to("/account")),
    }
}
