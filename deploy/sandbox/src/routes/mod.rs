//! One endpoint, one file.

mod admin;
mod before;
mod bundle;
mod file;
mod flood;
mod group;
mod kick_off;
mod limit;
mod made;
mod manifest;
mod metadata;
mod register;
mod search;
mod status;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

pub use self::limit::Window;
use crate::app::App;
use crate::auth::bearer;
use crate::outcome::Refused;

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let kick_off = || get(kick_off::by_get).post(kick_off::by_post);
    Router::new()
        .route("/fhir/metadata", get(metadata::capabilities))
        .route("/fhir/.well-known/smart-configuration", get(metadata::smart))
        .route("/fhir/$export", kick_off())
        .route("/fhir/Patient/$export", kick_off())
        .route("/fhir/Group/{id}/$export", kick_off())
        .route("/fhir/Group", get(search::groups))
        .route("/fhir/Group/{id}", get(group::one))
        .route("/fhir/{kind}", get(search::by_get))
        .route("/fhir/{kind}/_search", post(search::by_post))
        .route("/fhir/{kind}/{id}", get(search::read))
        .route("/fhir/status/{id}", get(status::poll).delete(status::delete))
        .route("/fhir/files/{export}/{name}", get(file::download))
        .route("/auth/register", post(register::register))
        .route("/auth/token", post(token::token))
        .route("/sandbox/stats", get(admin::stats))
        .route("/sandbox/faults", post(admin::arm).delete(admin::disarm))
        .route("/sandbox/release", post(admin::release))
        .route("/sandbox/expected", get(admin::expected_of_all))
        .route("/sandbox/expected/{group}", get(admin::expected))
        .route("/sandbox/config", get(admin::config))
        .fallback(nothing)
        .layer(from_fn_with_state(app.clone(), bearer::demand))
        .layer(from_fn_with_state(app.clone(), before::strike))
        .layer(from_fn_with_state(app.clone(), limit::limit))
        .with_state(app)
}

/// The other origin: files behind signed links, and nothing else.
pub fn storage(app: Arc<App>) -> Router {
    Router::new()
        .route("/signed/{export}/{name}", get(file::signed))
        .fallback(nothing)
        .layer(from_fn_with_state(app.clone(), before::strike))
        .with_state(app)
}

async fn nothing(uri: Uri) -> Refused {
    Refused::not_found(format!("The sandbox has nothing at {}", uri.path()))
}
