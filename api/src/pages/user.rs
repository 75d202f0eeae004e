//! `/users/{id}`: one user, for admins.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, Request, State};
use bulkhead_shared::db::{
    api_tokens::{self, Listed},
    users,
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{
    account::Sessions,
    form,
    frame::Frame,
    notice::Notice,
    page::{Answer, page},
    users::Made,
};
use crate::{
    ApiState,
    access::{
        Caller,
        accounts::{self, AccountError},
        secret,
    },
    problem::{Kind, Problem},
};

#[derive(Template)]
#[template(path = "user.html")]
struct User {
    frame: Frame,
    notice: Notice,
    user: users::User,
    sessions: Sessions,
    tokens: Vec<Listed>,
    made: Option<Made>,
}

impl User {
    fn secret(&self) -> &str {
        self.made.as_ref().map_or("", |made| made.secret.expose_secret())
    }

    fn here(&self) -> String {
        format!("/users/{}", self.user.id)
    }

    fn is_own(&self) -> bool {
        self.frame.user.as_ref().is_some_and(|own| own.id == self.user.id)
    }
}

async fn find(state: &ApiState, id: &str) -> Result<users::User, Problem> {
    let user = users::by_id(&state.pool, super::id(id)?).await?;
    user.ok_or_else(|| Problem::new(Kind::NotFound, "There is no such user; the page Users lists those there are."))
}

async fn show(state: &ApiState, caller: &Caller, frame: Frame, notice: Notice, user: users::User, made: Option<Made>) -> Answer {
    let own = caller.session.as_ref().map(|session| session.id);
    let sessions = Sessions::of(state, user.id, own, format!("/users/{}/sessions", user.id)).await?;
    let tokens = api_tokens::list(&state.pool, Some(user.id)).await?;
    page(&User { frame, notice, user, sessions, tokens, made })
}

pub async fn read(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    frame: Frame,
    Path(id): Path<String>,
    Query(notice): Query<Notice>,
) -> Answer {
    let user = find(&state, &id).await?;
    show(&state, &caller, frame, notice, user, None).await
}

fn told(user: &users::User, done: Result<(), AccountError>, word: &str) -> Answer {
    let notice = match done {
        Ok(()) => Notice::good(word),
        Err(error) => Notice::of(error)?,
    };
    Ok(notice.to(&format!("/users/{}", user.id)))
}

#[derive(Deserialize)]
struct NewRole {
    role: String,
}

pub async fn role(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<String>, request: Request) -> Answer {
    let user = find(&state, &id).await?;
    let NewRole { role } = form(request).await?;
    told(&user, accounts::set_role(&state.pool, &caller.actor, &user, super::role(&role)?).await, "role-changed")
}

pub async fn disable(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let user = find(&state, &id).await?;
    told(&user, accounts::set_disabled(&state.pool, &caller.actor, &user, true).await, "user-disabled")
}

pub async fn enable(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let user = find(&state, &id).await?;
    told(&user, accounts::set_disabled(&state.pool, &caller.actor, &user, false).await, "user-enabled")
}

/// A new password, shown once; the user is out everywhere, but an admin who does it to themselves stays in here.
pub async fn password(State(state): State<Arc<ApiState>>, caller: Caller, mut frame: Frame, Path(id): Path<String>) -> Answer {
    let user = find(&state, &id).await?;
    // Where the switches of language and theme lead back to.
    frame.here = format!("/users/{}", user.id);
    let password = secret::password();
    let keep = caller.session.as_ref().map(|session| session.id);
    match accounts::set_password(&state.pool, &caller.actor, &user, password.clone(), keep).await {
        Ok(_) => {
            let made = Made { name: user.name.clone(), secret: password };
            show(&state, &caller, frame, Notice::default(), user, Some(made)).await
        }
        Err(error) => told(&user, Err(error), ""),
    }
}

pub async fn log_out(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let user = find(&state, &id).await?;
    told(&user, accounts::revoke_sessions(&state.pool, &caller.actor, (user.id, &user.name), None).await.map(drop), "logged-out")
}

pub async fn revoke(State(state): State<Arc<ApiState>>, caller: Caller, Path((id, session)): Path<(String, String)>) -> Answer {
    let user = find(&state, &id).await?;
    let done = accounts::revoke_session(&state.pool, &caller.actor, (user.id, &user.name), super::id(&session)?).await;
    told(&user, done, "session-revoked")
}
