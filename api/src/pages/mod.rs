//! The web pages: one page, one file, and a template of the same name. Rendered here, usable without scripts; htmx and server-sent events
//! keep what is open up to date.

pub mod assets;
pub mod data;
pub mod exports;
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
pub mod sources;
pub mod texts;

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{FromRequest as _, Request},
    http::{HeaderValue, Method, header},
    response::{Redirect, Response},
};
use serde::de::DeserializeOwned;
use tower_http::compression::CompressionLayer;

use bulkhead_shared::domain::role::Role;

use crate::{
    ApiState,
    access::{Needs, Surface},
    problem::Problem,
    routes::{Route, guarded},
};

/// Our own scripts, styles and pictures, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The pages, and who may see them.
pub fn table() -> Vec<Route> {
    const ANYBODY: Needs = Needs::Nothing;
    const VIEWER: Needs = Needs::Role(Role::Viewer);
    const OPERATOR: Needs = Needs::Role(Role::Operator);
    vec![
        Route::of(VIEWER, Method::GET, "/", || async { Redirect::to("/exports") }),
        Route::of(VIEWER, Method::GET, "/exports", exports::list),
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
        Route::of(VIEWER, Method::GET, "/data/{job_id}/resources", resources::list),
        Route::of(VIEWER, Method::POST, "/data/{job_id}/resources", resources::search),
        Route::of(VIEWER, Method::GET, "/data/{job_id}/resources/{resource_type}/{id}", resources::one),
        Route::of(ANYBODY, Method::GET, "/login", login::form),
        Route::of(ANYBODY, Method::POST, "/login", login::submit),
        Route::of(VIEWER, Method::POST, "/logout", login::log_out),
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
    let Form(fields) = Form::from_request(request, &()).await.map_err(|rejection| {
        Problem::invalid(format!("The form cannot be read: {}. Reload the page and send it again.", rejection.body_text()))
    })?;
    Ok(fields)
}

fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    response
}
