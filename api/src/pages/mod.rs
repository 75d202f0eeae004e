//! The web pages: one page, one file, and a template of the same name. Rendered here, usable without scripts; htmx and server-sent events
//! keep what is open up to date.

pub mod assets;
pub mod exports;
pub mod format;
pub mod frame;
pub mod page;
pub mod preferences;
pub mod texts;

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{Redirect, Response},
    routing::get,
};
use tower_http::compression::CompressionLayer;

use crate::ApiState;

/// Our own scripts, styles and pictures, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The pages. What is around them, and the API's own routes, `routes::pages_router` adds.
pub fn routes() -> Router<Arc<ApiState>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/exports") }))
        .route("/exports", get(exports::list))
        .route("/language/{word}", get(preferences::language))
        .route("/theme/{word}", get(preferences::theme))
        .route("/static/{file}", get(assets::read))
        .layer(CompressionLayer::new().gzip(true))
        .layer(tower::util::MapResponseLayer::new(with_policy))
}

fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    response
}
