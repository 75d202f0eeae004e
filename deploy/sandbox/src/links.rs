//! Where the files are: here, or at another origin that takes signed links and no tokens.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};

use crate::app::{App, later};
use crate::door;
use crate::outcome::Refused;
use crate::switches::Bodies;

/// How long a signed link lives if nothing else is said.
const USUAL_LIFE: Duration = Duration::from_hours(1);

/// Makes the URLs of one answer.
pub struct Links<'a> {
    app: &'a App,
    origin: String,
    storage: Option<String>,
}

impl<'a> Links<'a> {
    pub fn new(app: &'a App, headers: &HeaderMap) -> Self {
        let origin = app.origin(headers);
        let storage = app.storage.map(|address| {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            format!("http://{name}:{}", address.port())
        });
        Self { app, origin, storage }
    }

    /// Whether the manifest names links that no token may be sent to.
    pub fn are_signed(&self) -> bool {
        self.app.switches.files.bodies == Bodies::Signed
    }

    /// The URL the manifest gives.
    pub fn file(&self, export: &str, name: &str) -> String {
        if self.are_signed() {
            return self.signed(export, name);
        }
        let path = format!("/fhir/files/{export}/{name}");
        match self.app.switches.files.link_lifetime {
            Some(life) => format!("{}{}", self.origin, sign(&path, life)),
            None => format!("{}{path}", self.origin),
        }
    }

    /// A link to the other origin.
    pub fn signed(&self, export: &str, name: &str) -> String {
        let life = self.app.switches.files.link_lifetime.unwrap_or(USUAL_LIFE);
        let storage = self.storage.as_ref().unwrap_or(&self.origin);
        format!("{storage}{}", sign(&format!("/signed/{export}/{name}"), life))
    }
}

fn sign(path: &str, life: Duration) -> String {
    let until = later(door::now(), life).timestamp_millis();
    format!("{path}?until={until}&signature={}", signature(path, until))
}

fn signature(path: &str, until: i64) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_bytes());
    hasher.write_i64(until);
    format!("{:016x}", hasher.finish())
}

/// Refuses a link that has run out or was changed.
pub fn check(app: &App, path: &str, query: Option<&str>) -> Result<(), Refused> {
    let field = |name: &str| query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let until = field("until").and_then(|until| until.parse::<i64>().ok()).unwrap_or(0);
    let alive = until > door::now().timestamp_millis() && field("signature") == Some(signature(path, until).as_str());
    if alive {
        return Ok(());
    }
    let status = app.switches.files.link_status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::FORBIDDEN);
    Err(Refused::new(status, "expired", "The link has expired: fetch the manifest again"))
}

/// As an object store refuses who sends a token beside the signature.
pub fn refuse_tokens(app: &App, headers: &HeaderMap) -> Result<(), Refused> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    app.count(|stats| stats.tokens_leaked += 1);
    Err(Refused::bad_request("processing", "Only one way of authentication is allowed: send no Authorization header with a signed link"))
}
