//! `/users`: who may log in, for admins.

use std::{collections::HashMap, sync::Arc};

use askama::Template;
use axum::{
    extract::{Query, Request, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use bulkhead_shared::{
    db::{
        sessions,
        users::{self, User},
    },
    domain::role::Role,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    form,
    frame::Frame,
    notice::Notice,
    page::{Answer, page},
};
use crate::{
    ApiState,
    access::{Caller, accounts, secret},
};

#[derive(Template)]
#[template(path = "users.html")]
struct Users {
    frame: Frame,
    notice: Notice,
    users: Vec<User>,
    /// Browsers in which they are logged in.
    sessions: HashMap<Uuid, i64>,
    wanted: Wanted,
    made: Option<Made>,
}

/// A password that was made here: shown now and never again.
pub struct Made {
    pub name: String,
    pub secret: SecretString,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    role: String,
}

impl Users {
    fn sessions(&self, user: &User) -> i64 {
        self.sessions.get(&user.id).copied().unwrap_or_default()
    }

    fn secret(&self) -> &str {
        self.made.as_ref().map_or("", |made| made.secret.expose_secret())
    }

    fn is_own(&self, user: &User) -> bool {
        self.frame.user.as_ref().is_some_and(|own| own.id == user.id)
    }
}

async fn show(state: &ApiState, frame: Frame, notice: Notice, wanted: Wanted, made: Option<Made>) -> Answer {
    let users = users::list(&state.pool).await?;
    let sessions = sessions::counts(&state.pool, state.access.session_idle).await?.into_iter().collect();
    page(&Users { frame, notice, users, sessions, wanted, made })
}

pub async fn list(State(state): State<Arc<ApiState>>, frame: Frame, Query(notice): Query<Notice>) -> Answer {
    show(&state, frame, notice, Wanted { name: String::new(), role: Role::Viewer.to_string() }, None).await
}

/// Adds one, and shows the password: the answer is the page itself, for a password has no place in an address.
pub async fn add(State(state): State<Arc<ApiState>>, caller: Caller, frame: Frame, request: Request) -> Answer {
    let wanted: Wanted = form(request).await?;
    let role = super::role(&wanted.role)?;
    let password = secret::password();
    match accounts::add_user(&state.pool, &caller.actor, &wanted.name, role, password.clone()).await {
        Ok(_) => {
            let made = Made { name: wanted.name.trim().to_owned(), secret: password };
            show(&state, frame, Notice::default(), Wanted { name: String::new(), ..wanted }, Some(made)).await
        }
        Err(error) => {
            let shown = show(&state, frame, Notice::of(error)?, wanted, None).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, shown).into_response())
        }
    }
}
