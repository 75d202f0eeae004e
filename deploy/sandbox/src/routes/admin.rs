//! Test controls under `/sandbox`: never behind a token, never struck by a fault.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::app::App;
use crate::auth::credentials;
use crate::faults::Fault;
use crate::outcome::Refused;
use crate::sandbox;
use crate::state::Client;
use crate::stats::Stats;

pub async fn stats(State(app): State<Arc<App>>) -> Json<Stats> {
    let stats = app.stats().borrow().clone();
    Json(stats)
}

/// The JSON form of a fault; `what` is as in the text form.
#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "where")]
    place: String,
    what: String,
    /// 0 is for ever.
    #[serde(default = "once")]
    times: u32,
    on: Option<String>,
}

fn once() -> u32 {
    1
}

/// Faults as text, one a line, or as a JSON object or array.
pub async fn arm(State(app): State<Arc<App>>, body: String) -> Result<Json<Value>, Refused> {
    let faults = read(&body).map_err(|error| Refused::bad_request("value", format!("{error:#}")))?;
    let armed = faults.len();
    for fault in faults {
        app.faults.arm(fault);
    }
    Ok(Json(json!({"armed": armed})))
}

fn read(body: &str) -> anyhow::Result<Vec<Fault>> {
    let body = body.trim();
    if !body.starts_with(['{', '[']) {
        return body.lines().filter(|line| !line.trim().is_empty()).map(str::parse).collect();
    }
    let wanted: Vec<Wanted> = if body.starts_with('[') { serde_json::from_str(body)? } else { vec![serde_json::from_str(body)?] };
    wanted
        .into_iter()
        .map(|wanted| {
            let mut fault: Fault = format!("{}:{}", wanted.place, wanted.what).parse()?;
            fault.times = (wanted.times > 0).then_some(wanted.times);
            fault.on = wanted.on.or(fault.on);
            Ok(fault)
        })
        .collect()
}

/// Disarms all faults.
pub async fn disarm(State(app): State<Arc<App>>) -> StatusCode {
    app.faults.clear();
    StatusCode::NO_CONTENT
}

/// Lets every held request go on.
pub async fn release(State(app): State<Arc<App>>) -> StatusCode {
    app.release();
    StatusCode::NO_CONTENT
}

pub async fn expected_of_all(State(app): State<Arc<App>>) -> Json<BTreeMap<String, u64>> {
    Json(block_in_place(|| sandbox::expected(&app, None)))
}

pub async fn expected(State(app): State<Arc<App>>, Path(group): Path<String>) -> Result<Json<BTreeMap<String, u64>>, Refused> {
    if !app.world.knows(&group) {
        return Err(Refused::not_found(format!("There is no Group {group}")));
    }
    Ok(Json(block_in_place(|| sandbox::expected(&app, Some(&group)))))
}

/// Registers a fresh client and gives what the guide calls "Download as JSON".
pub async fn config(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let origin = app.origin(&headers);
    let key = tokio::task::spawn_blocking(credentials::make_key).await.expect("making a key does not panic");
    let client = credentials::register(&app, Client::Jwks(key.jwks()));
    let credentials = key.credentials(client, format!("{origin}/auth/token"));
    Json(json!({
        "auth_type": if app.config.auth { "backend-services" } else { "none" },
        "token_endpoint": credentials.token_url,
        "client_id": credentials.client_id,
        "key": credentials.private_jwk,
        "fhir_url": format!("{origin}/fhir"),
    }))
}
