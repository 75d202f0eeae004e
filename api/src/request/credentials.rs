//! As whom a server is asked: openly, with a bearer token, or by SMART Backend Services.

use bulkhead_shared::domain::{
    outgoing::OutgoingRules,
    private_key::{Algorithm, PrivateKey, Wanted},
};
use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;

use super::{config::Config, fields::Fields};
use crate::problem::Problem;

/// More than any key needs; numbers of any length would keep the CPU busy.
const LONGEST_KEY: usize = 64 * 1024;

#[derive(Debug)]
pub enum Credentials {
    /// Those of this source, kept from an earlier request.
    Kept(Uuid),
    Open,
    Bearer(SecretString),
    Smart(Box<Smart>),
}

/// SMART Backend Services (SMART App Launch 2.2, "Backend Services").
#[derive(Debug)]
pub struct Smart {
    /// As written: it is the assertion's audience, which servers compare letter by letter. Without it the server is asked.
    pub token_url: Option<String>,
    pub client_id: String,
    pub key: Key,
    pub jwks_url: Option<String>,
    pub scope: Option<String>,
}

/// The key to sign with.
#[derive(Debug)]
pub enum Key {
    Given(PrivateKey),
    /// One of ours, by its kid.
    Own {
        kid: String,
        algorithm: Option<Algorithm>,
    },
}

/// Takes them from the request and from `config`; what is given twice must be given once.
pub fn read(fields: &mut Fields, config: Config, rules: &OutgoingRules) -> Result<Credentials, Problem> {
    let token_url = once("token_url", fields.text("token_url")?, config.token_url)?;
    let client_id = once("client_id", fields.text("client_id")?, config.client_id)?;
    let private_key = once("private_key", fields.take("private_key"), config.private_key)?;
    let jwks_url = once("jwks_url", fields.text("jwks_url")?, config.jwks_url)?;
    let scope = once("scope", fields.text("scope")?, config.scope)?;
    let algorithm = fields.text("algorithm")?;
    let kid = match (fields.text("kid")?, fields.text("key_id")?) {
        (Some(_), Some(_)) => return Err(Problem::invalid("kid and key_id mean the same; give one.")),
        (kid, key_id) => kid.or(key_id),
    };
    let wanted = fields.flag("use_smart_auth")?;
    let bearer = fields.text("bearer_token")?.map(|token| bearer(&token)).transpose()?;

    let given = token_url.is_some() || client_id.is_some() || private_key.is_some() || kid.is_some();
    if !wanted.unwrap_or(given) {
        return Ok(bearer.map_or(Credentials::Open, Credentials::Bearer));
    }
    if bearer.is_some() {
        return Err(Problem::invalid(
            "bearer_token and SMART authentication are given together; leave bearer_token out, or set use_smart_auth to false.",
        ));
    }
    let algorithm = algorithm.as_deref().map(known_algorithm).transpose()?;
    let key = match (&private_key, kid) {
        (Some(value), kid) => Some(key(value, Wanted { algorithm, kid: kid.as_deref() })?),
        (None, Some(kid)) => Some(Key::Own { kid, algorithm }),
        (None, None) => None,
    };
    let (client_id, key) = match (client_id, key) {
        (Some(client_id), Some(key)) => (client_id, key),
        (client_id, key) => return Err(missing(client_id.is_none(), key.is_none())),
    };
    for (field, url) in [("token_url", token_url.as_ref()), ("jwks_url", jwks_url.as_ref())] {
        if let Some(url) = url {
            rules.parse(url).map_err(|e| Problem::invalid(format!("{field}: {e}.")))?;
        }
    }
    Ok(Credentials::Smart(Box::new(Smart { token_url, client_id, key, jwks_url, scope })))
}

fn once<T>(name: &str, given: Option<T>, configured: Option<T>) -> Result<Option<T>, Problem> {
    match (given, configured) {
        (Some(_), Some(_)) => Err(Problem::invalid(format!("{name} is given in config and beside it; give it once."))),
        (given, configured) => Ok(given.or(configured)),
    }
}

/// Names what SMART authentication lacks.
fn missing(client_id: bool, key: bool) -> Problem {
    let lacks = match (client_id, key) {
        (true, true) => "client_id and private_key are",
        (true, false) => "client_id is",
        (false, _) => "private_key is",
    };
    Problem::invalid(format!(
        "SMART authentication needs client_id and private_key (or the kid of a key that `bulkhead-api keys` made); {lacks} missing. \
         For an open server leave all of them out and set use_smart_auth to false."
    ))
}

fn known_algorithm(algorithm: &str) -> Result<Algorithm, Problem> {
    algorithm.parse().map_err(|_| {
        let shown: String = algorithm.chars().take(16).collect();
        Problem::invalid(format!("algorithm {shown:?} is not known; use RS384 for an RSA key, ES384 for an EC key, or leave it out."))
    })
}

fn key(value: &Value, wanted: Wanted<'_>) -> Result<Key, Problem> {
    let long = value.as_str().map_or_else(|| value.to_string().len(), str::len) > LONGEST_KEY;
    if long {
        return Err(Problem::invalid("private_key is longer than any key; give the JWK or the PEM alone."));
    }
    PrivateKey::from_request(value, wanted).map(Key::Given).map_err(|e| Problem::invalid(format!("{e}.")))
}

/// A token that can stand in a header (RFC 6750, 2.1).
fn bearer(token: &str) -> Result<SecretString, Problem> {
    let token = token.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer ")).map_or(token, |_| token[7..].trim());
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Problem::invalid("bearer_token holds characters that no token has; give the token alone."));
    }
    Ok(SecretString::from(token))
}
