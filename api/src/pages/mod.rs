//! The web pages: one page, one file, and a template of the same name. Rendered here, usable without scripts; htmx and server-sent events
//! keep what is open up to date.

pub mod account;
pub mod assets;
pub mod audit;
pub mod data;
pub mod events;
pub mod export;
pub mod exports;
pub mod failures;
pub mod fields;
pub mod format;
pub mod frame;
pub mod login;
pub mod new;
pub mod notice;
pub mod page;
pub mod preferences;
pub mod queue;
pub mod references;
pub mod resources;
pub mod said;
pub mod sentence;
pub mod sources;
pub mod texts;
pub mod tokens;
pub mod user;
pub mod user_agent;
pub mod users;

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{FromRequest as _, Request},
    http::{HeaderValue, Method, header},
    response::{Redirect, Response},
};
use serde::de::DeserializeOwned;
use tower_http::compression::CompressionLayer;
use uuid::Uuid;

use bulkhead_shared::domain::role::Role;

use crate::{
    ApiState,
    access::{Needs, Surface},
    problem::{Kind, Problem},
    routes::{Route, SLOWEST_BODY, guarded},
};

/// Our own scripts, styles and pictures, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The pages, and who may see them.
pub fn table() -> Vec<Route> {
    const ANYBODY: Needs = Needs::Nothing;
    const VIEWER: Needs = Needs::Role(Role::Viewer);
    const ADMIN: Needs = Needs::Role(Role::Admin);
    const OPERATOR: Needs = Needs::Role(Role::Operator);
    vec![
        Route::of(VIEWER, Method::GET, "/", || async { Redirect::to("/exports") }),
        Route::of(VIEWER, Method::GET, "/exports", exports::list),
        Route::of(VIEWER, Method::GET, "/events", events::any),
        Route::of(VIEWER, Method::GET, "/events/{job_id}", events::one),
        Route::of(OPERATOR, Method::GET, "/exports/act", exports::confirm),
        Route::of(OPERATOR, Method::POST, "/exports/act", exports::act),
        Route::of(VIEWER, Method::GET, "/exports/{job_id}", export::read),
        Route::of(OPERATOR, Method::POST, "/exports/{job_id}/retry", export::retry),
        Route::of(OPERATOR, Method::GET, "/exports/{job_id}/cancel", export::ask_cancel),
        Route::of(OPERATOR, Method::POST, "/exports/{job_id}/cancel", export::cancel),
        Route::of(OPERATOR, Method::GET, "/exports/{job_id}/accept", export::ask_accept),
        Route::of(OPERATOR, Method::POST, "/exports/{job_id}/accept", export::accept),
        Route::of(OPERATOR, Method::GET, "/exports/{job_id}/delete", export::ask_delete),
        Route::of(OPERATOR, Method::POST, "/exports/{job_id}/delete", export::delete),
        Route::of(OPERATOR, Method::GET, "/exports/{job_id}/rejected", export::rejected),
        Route::of(OPERATOR, Method::GET, "/exports/{job_id}/manifest", export::manifest),
        Route::of(VIEWER, Method::GET, "/failures", failures::read),
        Route::of(OPERATOR, Method::GET, "/new", new::form),
        Route::of(OPERATOR, Method::POST, "/new", new::start),
        Route::of(OPERATOR, Method::GET, "/new/{check_id}", new::pick),
        Route::of(OPERATOR, Method::POST, "/new/{check_id}", new::choose),
        Route::of(OPERATOR, Method::POST, "/new/{check_id}/send", new::send),
        Route::of(OPERATOR, Method::GET, "/new/{check_id}/sent/{form}", new::sent),
        Route::of(VIEWER, Method::GET, "/queue", queue::read),
        Route::of(OPERATOR, Method::POST, "/queue/workers/{worker_id}", queue::drain),
        Route::of(VIEWER, Method::GET, "/sources", sources::list),
        Route::of(VIEWER, Method::GET, "/sources/{source_id}", sources::one),
        Route::of(OPERATOR, Method::POST, "/sources/{source_id}/check", sources::check),
        Route::of(OPERATOR, Method::POST, "/sources/{source_id}/settings", sources::set),
        Route::of(VIEWER, Method::GET, "/data", data::read),
        Route::of(VIEWER, Method::GET, "/data/standings", data::standings),
        Route::of(OPERATOR, Method::POST, "/data/{job_id}/sum-up", data::sum_up),
        Route::of(VIEWER, Method::GET, "/data/{job_id}/resources", resources::list),
        Route::of(VIEWER, Method::POST, "/data/{job_id}/resources", resources::search),
        Route::of(VIEWER, Method::GET, "/data/{job_id}/resources/{resource_type}/{id}", resources::one),
        Route::of(Needs::Greeting, Method::GET, "/login", login::form),
        Route::of(Needs::Greeting, Method::POST, "/login", login::submit),
        Route::of(VIEWER, Method::POST, "/logout", login::log_out),
        Route::of(VIEWER, Method::GET, "/account", account::read),
        Route::of(VIEWER, Method::POST, "/account/password", account::password),
        Route::of(VIEWER, Method::POST, "/account/sessions/{session}/revoke", account::revoke),
        Route::of(VIEWER, Method::POST, "/account/sessions/others", account::revoke_others),
        Route::of(VIEWER, Method::GET, "/tokens", tokens::list),
        Route::of(VIEWER, Method::POST, "/tokens", tokens::add),
        Route::of(VIEWER, Method::POST, "/tokens/{token}/revoke", tokens::revoke),
        Route::of(ADMIN, Method::GET, "/users", users::list),
        Route::of(ADMIN, Method::POST, "/users", users::add),
        Route::of(ADMIN, Method::GET, "/users/{user}", user::read),
        Route::of(ADMIN, Method::POST, "/users/{user}/role", user::role),
        Route::of(ADMIN, Method::POST, "/users/{user}/password", user::password),
        Route::of(ADMIN, Method::POST, "/users/{user}/disable", user::disable),
        Route::of(ADMIN, Method::POST, "/users/{user}/enable", user::enable),
        Route::of(ADMIN, Method::POST, "/users/{user}/log-out", user::log_out),
        Route::of(ADMIN, Method::POST, "/users/{user}/sessions/{session}/revoke", user::revoke),
        Route::of(ADMIN, Method::GET, "/audit", audit::list),
        Route::of(ANYBODY, Method::GET, "/language/{word}", preferences::language),
        Route::of(ANYBODY, Method::GET, "/theme/{word}", preferences::theme),
        Route::of(ANYBODY, Method::GET, "/static/{file}", assets::read),
    ]
}

/// Each behind its door. What is around them, and the API's own routes, `routes::pages_router` adds.
pub fn routes(state: &Arc<ApiState>) -> Router<Arc<ApiState>> {
    guarded(table(), state, Surface::Pages).layer(CompressionLayer::new().gzip(true)).layer(tower::util::MapResponseLayer::new(with_policy))
}

/// The fields of a form.
async fn form<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let read = tokio::time::timeout(SLOWEST_BODY, Form::from_request(request, &())).await;
    let read = read.map_err(|_| Problem::new(Kind::BodyTooSlow, "The form took longer than 30 seconds; send it again."))?;
    let Form(fields) = read.map_err(|rejection| {
        Problem::invalid(format!("The form cannot be read: {}. Reload the page and send it again.", rejection.body_text()))
    })?;
    Ok(fields)
}

/// An id as it stands in a path.
fn id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::NotFound, "What the address names is not there; go back and reload the list."))
}

/// A role as a form has it.
fn role(word: &str) -> Result<Role, Problem> {
    word.parse().map_err(|_| Problem::invalid("There is no such role; use viewer, operator or admin."))
}

fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    response
}
