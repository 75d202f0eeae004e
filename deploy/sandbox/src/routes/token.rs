//! The token endpoint (SMART App Launch 2.2, "Obtain access token").

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::{App, later};
use crate::auth::{assertion, scope};
use crate::door;
use crate::faults::{Token as Fault, What, Where};
use crate::outcome::http_date;
use crate::state::Token;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An OAuth 2.0 error (RFC 6749, section 5.2).
struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: String,
}

pub async fn token(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = respond(&app, &headers, &body).await;
    if app.switches.access.clock != 0 {
        let clock = door::now() + chrono::Duration::seconds(app.switches.access.clock);
        response.headers_mut().insert(header::DATE, http_date(clock));
    }
    response
}

async fn respond(app: &App, headers: &HeaderMap, body: &[u8]) -> Response {
    match issue(app, headers, body).await {
        Ok(response) => response,
        Err(error) => {
            app.count(|stats| stats.token_refusals += 1);
            let body = json!({"error": error.error, "error_description": error.description});
            (error.status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
    }
}

async fn issue(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<Response, OAuthError> {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("grant_type") != "client_credentials" {
        return Err(refuse("unsupported_grant_type", "grant_type must be client_credentials"));
    }
    if field("client_assertion_type") != ASSERTION_TYPE {
        let text = format!("client_assertion_type must be {ASSERTION_TYPE}");
        return Err(refuse("invalid_request", text));
    }
    // The same endpoint by the name the client used and by the sandbox's own.
    let audiences = [app.origin(headers), app.own_origin()].map(|origin| format!("{origin}/auth/token"));
    let client = assertion::check(app, field("client_assertion"), &audiences).await.map_err(|why| OAuthError {
        status: StatusCode::UNAUTHORIZED,
        error: "invalid_client",
        description: why,
    })?;
    let scope = field("scope");
    let fits = !scope.is_empty() && scope.split_whitespace().all(|scope| scope.starts_with("system/"));
    if !fits {
        return Err(refuse("invalid_scope", "scope must be of system/..., for example system/*.read"));
    }
    if !scope.split_whitespace().all(|scope| scope::is_known(scope, app.switches.access.permission)) {
        return Err(refuse("invalid_scope", format!("scope \"{scope}\" is not supported: see scopes_supported")));
    }
    let faults = app.faults.take_each(Where::Token, "/auth/token", |what| match what {
        What::Token(fault) => Some(fault.clone()),
        _ => None,
    });
    app.count(|stats| stats.faults += faults.len() as u64);
    let mut scope = app.switches.access.grant.as_ref().map_or_else(|| scope.to_owned(), |grant| grant.join(" "));
    for fault in &faults {
        match fault {
            Fault::InvalidScope => return Err(refuse("invalid_scope", "The scope is not allowed for this client")),
            Fault::Narrow(to) => scope.clone_from(to),
            _ => {}
        }
    }
    let token = door::secret();
    let lifetime = app.config.token_lifetime;
    let expires = later(door::now(), lifetime);
    app.change(|state, stats| {
        stats.tokens_issued += 1;
        state.tokens.insert(token.clone(), Token { client, scope: scope.clone(), expires });
    });
    let mut body = json!({
        "access_token": token,
        "token_type": "bearer",
        "expires_in": lifetime.as_secs(),
        "scope": scope,
    });
    spoil(&mut body, &faults);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

fn spoil(body: &mut Value, faults: &[Fault]) {
    let without = |body: &mut Value, name: &str| body.as_object_mut().map(|body| body.remove(name));
    for fault in faults {
        match fault {
            Fault::NoScope => drop(without(body, "scope")),
            Fault::NoExpiresIn => drop(without(body, "expires_in")),
            Fault::ExpiresInString => body["expires_in"] = json!(body["expires_in"].to_string()),
            Fault::ExpiresIn(text) => body["expires_in"] = text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
            Fault::Narrow(_) | Fault::InvalidScope => {}
        }
    }
}

fn refuse(error: &'static str, description: impl Into<String>) -> OAuthError {
    OAuthError { status: StatusCode::BAD_REQUEST, error, description: description.into() }
}
