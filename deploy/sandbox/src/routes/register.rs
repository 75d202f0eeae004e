//! Registration of clients by their public keys, open to everybody: this is a sandbox.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::credentials;
use crate::state::Client;

#[derive(Deserialize)]
struct Registration {
    jwks: Option<Value>,
    jwks_url: Option<String>,
}

pub async fn register(State(app): State<Arc<App>>, body: Bytes) -> (StatusCode, Json<Value>) {
    match read(&body) {
        Ok(client) => {
            let id = credentials::register(&app, client);
            (StatusCode::CREATED, Json(json!({"client_id": id})))
        }
        Err(why) => {
            let error = json!({"error": "invalid_client_metadata", "error_description": why});
            (StatusCode::BAD_REQUEST, Json(error))
        }
    }
}

fn read(body: &[u8]) -> Result<Client, String> {
    let registration: Registration = serde_json::from_slice(body).map_err(|error| format!("The body is no registration: {error}"))?;
    match registration {
        Registration { jwks: Some(jwks), .. } if jwks["keys"].is_array() => Ok(Client::Jwks(jwks)),
        Registration { jwks_url: Some(url), .. } => Ok(Client::JwksUrl(url)),
        _ => Err("Send {\"jwks\": {\"keys\": [..]}} or {\"jwks_url\": \"..\"}".to_owned()),
    }
}
