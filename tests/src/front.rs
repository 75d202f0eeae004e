//! A front desk before the sandbox: it says of itself what a test wants, hands out tokens by its own rules, and passes the rest on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse as _,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// What the front desk says. `{origin}` in its documents is where it can be reached.
#[derive(Debug, Clone, Default)]
pub struct Says {
    /// At `.well-known/smart-configuration`; 404 without.
    pub smart_configuration: Option<Value>,
    /// At `metadata`; 404 without.
    pub capability_statement: Option<Value>,
    /// At `Group`; what the server behind says without.
    pub groups: Option<Value>,
    /// The scopes that this client may have; all without.
    pub grants: Option<Vec<&'static str>>,
    /// Refuse who asks for more than that (`invalid_scope`), instead of granting less.
    pub strict: bool,
}

/// The desk; it ends when it is dropped.
pub struct Front {
    /// The FHIR base URL through it.
    pub base_url: String,
    pub origin: String,
    desk: Arc<Mutex<Desk>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Desk {
    says: Says,
    asked: Vec<HashMap<String, String>>,
    paths: Vec<String>,
}

impl Front {
    /// Before the server with this FHIR base URL.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn before(base_url: &str, says: Says) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let desk = Arc::new(Mutex::new(Desk { says, ..Desk::default() }));
        let state = Behind {
            target: base_url.trim_end_matches("/fhir").to_owned(),
            address: address.clone(),
            http: crate::app::client(),
            desk: Arc::clone(&desk),
        };
        let router = axum::Router::new().fallback(serve).with_state(state);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let origin = format!("http://{address}");
        Self { base_url: format!("{origin}/fhir"), origin, desk, task }
    }

    /// Says something else from now on.
    pub fn say(&self, says: Says) {
        lock(&self.desk).says = says;
    }

    /// The forms that were sent to the token endpoint.
    pub fn asked(&self) -> Vec<HashMap<String, String>> {
        lock(&self.desk).asked.clone()
    }

    /// The scopes that were asked for, in order.
    pub fn scopes(&self) -> Vec<String> {
        self.asked().into_iter().map(|form| form.get("scope").cloned().unwrap_or_default()).collect()
    }

    /// The header and the claims of the last assertion.
    ///
    /// # Panics
    /// If none came.
    pub fn assertion(&self) -> (Value, Value) {
        let form = self.asked().pop().expect("somebody asked");
        let part = |n| {
            let part = form["client_assertion"].split('.').nth(n).expect("a JWT");
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
        };
        (part(0), part(1))
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        lock(&self.desk).paths.iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Behind {
    target: String,
    address: String,
    http: reqwest::Client,
    desk: Arc<Mutex<Desk>>,
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(State(behind): State<Behind>, mut request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    lock(&behind.desk).paths.push(path.clone());
    let says = lock(&behind.desk).says.clone();
    match path.as_str() {
        "/fhir/.well-known/smart-configuration" => document(&behind, says.smart_configuration),
        "/fhir/metadata" => document(&behind, says.capability_statement),
        "/fhir/Group" if says.groups.is_some() => document(&behind, says.groups),
        "/auth/token" => {
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
            let form: HashMap<String, String> = reqwest::Url::parse(&format!("http://x/?{}", String::from_utf8_lossy(&body)))
                .expect("a form")
                .query_pairs()
                .into_owned()
                .collect();
            let answer = token(&says, form.get("scope").map_or("", String::as_str));
            lock(&behind.desk).asked.push(form);
            answer
        }
        _ => {
            // So that the server names its files as they are reached: through here.
            request.headers_mut().insert(header::HOST, HeaderValue::try_from(&behind.address).expect("ASCII"));
            crate::proxy::forward(&behind.http, &behind.target, request).await
        }
    }
}

fn document(behind: &Behind, document: Option<Value>) -> Response<Body> {
    let Some(document) = document else { return StatusCode::NOT_FOUND.into_response() };
    let text = document.to_string().replace("{origin}", &format!("http://{}", behind.address));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn token(says: &Says, asked: &str) -> Response<Body> {
    let granted: Vec<&str> = asked.split_whitespace().filter(|scope| says.grants.as_ref().is_none_or(|all| all.contains(scope))).collect();
    let all = granted.len() == asked.split_whitespace().count();
    if says.strict && !all {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_scope"}))).into_response();
    }
    // A number of seconds in quotes, as some servers write it.
    let scope = if granted.is_empty() { says.grants.clone().unwrap_or_default().join(" ") } else { granted.join(" ") };
    Json(json!({"access_token": format!("token-for:{asked}"), "token_type": "bearer", "expires_in": "300", "scope": scope})).into_response()
}
