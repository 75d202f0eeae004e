//! The access token on FHIR requests.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::door;
use crate::outcome::Refused;

/// Demands a live token on everything under `/fhir` but the two documents that tell where to get one.
pub async fn demand(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let open = !path.starts_with("/fhir/") || path == "/fhir/metadata" || path.starts_with("/fhir/.well-known/");
    if !app.config.auth || open || is_live(&app, request.headers()) {
        return next.run(request).await;
    }
    app.count(|stats| stats.unauthorized += 1);
    Refused::unauthorized().into_response()
}

/// Revokes the token that was sent, if any.
pub fn revoke(app: &App, headers: &HeaderMap) {
    if let Some(token) = token(headers) {
        app.change(|state, _| state.tokens.remove(token));
    }
}

/// Who sent the request; without tokens everybody is the same.
pub fn client(app: &App, headers: &HeaderMap) -> String {
    let known = |token: &str| app.read(|state| state.tokens.get(token).map(|token| token.client.clone()));
    token(headers).and_then(known).unwrap_or_else(|| "anybody".to_owned())
}

/// What the token was granted.
pub fn scope(app: &App, headers: &HeaderMap) -> String {
    let known = |token: &str| app.read(|state| state.tokens.get(token).map(|token| token.scope.clone()));
    token(headers).and_then(known).unwrap_or_default()
}

fn is_live(app: &App, headers: &HeaderMap) -> bool {
    let Some(token) = token(headers) else { return false };
    app.read(|state| state.tokens.get(token).is_some_and(|token| token.expires > door::now()))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
