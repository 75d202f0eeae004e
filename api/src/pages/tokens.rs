//! `/tokens`: one's own API tokens; an admin sees everybody's.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{Path, Query, Request, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use bulkhead_shared::{
    db::api_tokens::{self, Listed},
    domain::role::Role,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    account::session,
    form,
    frame::Frame,
    notice::Notice,
    page::{Answer, page},
};
use crate::{
    ApiState,
    access::{
        Caller,
        accounts::{self, TokenWanted},
    },
    problem::Problem,
};

/// How many days a token may be good for; 0 is for good.
const DAYS: [u32; 5] = [7, 30, 90, 365, 0];

#[derive(Template)]
#[template(path = "tokens.html")]
struct Tokens {
    frame: Frame,
    notice: Notice,
    tokens: Vec<Listed>,
    /// Everybody's are shown.
    all: bool,
    wanted: Wanted,
    made: Option<Made>,
}

/// The new one: shown now and never again.
struct Made {
    name: String,
    secret: SecretString,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    role: String,
    days: u32,
}

impl Wanted {
    fn nothing() -> Self {
        Self { name: String::new(), role: Role::Viewer.to_string(), days: 90 }
    }
}

impl Tokens {
    /// The roles that the reader may give.
    fn roles(&self) -> impl Iterator<Item = Role> {
        Role::ALL.iter().copied().filter(|role| self.frame.may(*role))
    }

    fn secret(&self) -> &str {
        self.made.as_ref().map_or("", |made| made.secret.expose_secret())
    }
}

/// Whose tokens somebody may see and revoke; None: everybody's.
fn of(caller: &Caller) -> Result<Option<Uuid>, Problem> {
    let user = session(caller)?.user_id;
    Ok((!caller.may(Role::Admin)).then_some(user))
}

async fn show(state: &ApiState, caller: &Caller, frame: Frame, notice: Notice, wanted: Wanted, made: Option<Made>) -> Answer {
    let of = of(caller)?;
    let tokens = api_tokens::list(&state.pool, of).await?;
    page(&Tokens { frame, notice, tokens, all: of.is_none(), wanted, made })
}

pub async fn list(State(state): State<Arc<ApiState>>, caller: Caller, frame: Frame, Query(notice): Query<Notice>) -> Answer {
    show(&state, &caller, frame, notice, Wanted::nothing(), None).await
}

/// Makes one, and shows it: the answer is the page itself, for a token has no place in an address.
pub async fn add(State(state): State<Arc<ApiState>>, caller: Caller, frame: Frame, request: Request) -> Answer {
    let owner = session(&caller)?.user_id;
    let wanted: Wanted = form(request).await?;
    let role = super::role(&wanted.role)?;
    if !DAYS.contains(&wanted.days) {
        return Err(Problem::invalid("A token is good for one of the times that the form offers; choose one of them."));
    }
    let lifetime = (wanted.days > 0).then(|| Duration::from_secs(u64::from(wanted.days) * 86_400));
    let new = TokenWanted { name: &wanted.name, role, owner: Some((owner, caller.role)), lifetime };
    match accounts::add_token(&state.pool, &caller.actor, &new).await {
        Ok(secret) => {
            let made = Made { name: wanted.name.trim().to_owned(), secret };
            show(&state, &caller, frame, Notice::default(), Wanted::nothing(), Some(made)).await
        }
        Err(error) => {
            let shown = show(&state, &caller, frame, Notice::of(error)?, wanted, None).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, shown).into_response())
        }
    }
}

pub async fn revoke(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<String>) -> Answer {
    match accounts::revoke_token(&state.pool, &caller.actor, super::id(&id)?, of(&caller)?).await {
        Ok(()) => Ok(Notice::good("token-revoked").to("/tokens")),
        Err(error) => Ok(Notice::of(error)?.to("/tokens")),
    }
}
