//! `GET /.well-known/jwks.json`: the public halves of our own keys, for the servers that check our assertions (SMART App Launch 2.2,
//! "Registering a client").

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
};
use bulkhead_shared::db::signing_keys;
use serde_json::{Value, json};

use crate::{ApiState, openapi::Always, problem::Problem};

/// A key that was made or retired is known everywhere minutes later.
const CACHE: &str = "public, max-age=300";

/// The public halves of our own keys (a JWKS).
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "jwks", tag = "about",
    responses((status = 200, description = "The keys.", content_type = "application/json", body = Object), Always))]
pub async fn read(State(state): State<Arc<ApiState>>) -> Result<([(HeaderName, &'static str); 1], Json<Value>), Problem> {
    let keys = signing_keys::published(&state.pool).await?;
    Ok(([(header::CACHE_CONTROL, CACHE)], Json(json!({ "keys": keys }))))
}
