//! `/login` and `/logout`.

use std::{net::IpAddr, sync::Arc};

use askama::Template;
use axum::{
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect},
};
use bulkhead_shared::db::users;
use serde::Deserialize;

use super::{
    frame::Frame,
    page::{Answer, page},
    preferences::local,
};
use crate::{
    ApiState,
    access::{
        Caller, client, cookie,
        login::{self, Attempt, Outcome},
    },
    problem::Problem,
};

/// What the form says of the last attempt.
enum Said {
    Nothing,
    Wrong,
    Wait(u64),
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    back: String,
    name: String,
    said: Said,
    /// Nobody can log in yet.
    nobody: bool,
}

#[derive(Deserialize)]
pub struct Back {
    #[serde(default)]
    back: String,
}

/// The form; who is in already is led on.
pub async fn form(State(state): State<Arc<ApiState>>, caller: Option<Caller>, frame: Frame, Query(Back { back }): Query<Back>) -> Answer {
    if caller.is_some_and(|caller| caller.session.is_some()) {
        return Ok(Redirect::to(local(&back)).into_response());
    }
    let nobody = users::list(&state.pool).await?.is_empty();
    page(&Login { frame, back: local(&back).to_owned(), name: String::new(), said: Said::Nothing, nobody })
}

#[derive(Deserialize)]
struct Filled {
    name: String,
    password: String,
    #[serde(default)]
    back: String,
}

/// Where a request comes from.
pub struct From(Option<IpAddr>);

impl axum::extract::FromRequestParts<Arc<ApiState>> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &Arc<ApiState>) -> Result<Self, Self::Rejection> {
        Ok(Self(client(&parts.extensions, &parts.headers, &state.access.trusted_proxies)))
    }
}

/// Tries; the cookie leads to the page that was wanted.
pub async fn submit(
    State(state): State<Arc<ApiState>>,
    From(address): From,
    caller: Option<Caller>,
    frame: Frame,
    head: HeaderMap,
    request: Request,
) -> Answer {
    let filled: Filled = super::form(request).await?;
    let user_agent = head.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let attempt = Attempt { name: &filled.name, password: filled.password.into(), address, user_agent };
    let (status, said) = match login::log_in(&state, attempt).await? {
        Outcome::In(token) => {
            // The browser forgets the session that it had.
            if let Some(before) = caller {
                login::log_out(&state, &before).await?;
            }
            let mut response = Redirect::to(local(&filled.back)).into_response();
            response
                .headers_mut()
                .extend(cookie::set(&head, &token, state.access.session_lifetime).map(|cookie| (header::SET_COOKIE, cookie)));
            return Ok(response);
        }
        Outcome::Wrong => (StatusCode::FORBIDDEN, Said::Wrong),
        Outcome::Wait(wait) => (StatusCode::TOO_MANY_REQUESTS, Said::Wait(wait.as_secs() + 1)),
    };
    let shown = page(&Login { frame, back: local(&filled.back).to_owned(), name: filled.name, said, nobody: false })?;
    Ok((status, shown).into_response())
}

/// Ends the session.
pub async fn log_out(State(state): State<Arc<ApiState>>, caller: Caller, request: Request) -> Answer {
    login::log_out(&state, &caller).await?;
    let mut response = Redirect::to("/login").into_response();
    response.headers_mut().extend(cookie::clear(request.headers()).map(|cookie| (header::SET_COOKIE, cookie)));
    Ok::<_, Problem>(response)
}
