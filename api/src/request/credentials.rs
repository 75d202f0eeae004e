//! As whom a server is asked: openly, with a bearer token, or by SMART Backend Services.

use bulkhead_shared::domain::{outgoing::OutgoingRules, private_key::PrivateKey};
use secrecy::SecretString;
use serde_json::Value;

use super::{config::Config, fields::Fields};
use crate::problem::Problem;

/// More than any key needs; numbers of any length would keep the CPU busy.
const LONGEST_KEY: usize = 64 * 1024;

#[derive(Debug)]
pub enum Credentials {
    Open,
    Bearer(SecretString),
    Smart(Box<Smart>),
}

/// SMART Backend Services (SMART App Launch 2.2, "Backend Services").
#[derive(Debug)]
pub struct Smart {
    /// As written: it is the assertion's audience, which servers compare letter by letter.
    pub token_url: String,
    pub client_id: String,
    pub key: PrivateKey,
    pub jwks_url: Option<String>,
    pub scope: Option<String>,
}

impl Smart {
    /// The one this version signs with.
    pub const ALGORITHM: &str = "RS384";
}

/// Takes them from the request and from `config`; what is given twice must be given once.
pub fn read(fields: &mut Fields, config: Config, rules: &OutgoingRules) -> Result<Credentials, Problem> {
    let token_url = once("token_url", fields.text("token_url")?, config.token_url)?;
    let client_id = once("client_id", fields.text("client_id")?, config.client_id)?;
    let private_key = once("private_key", fields.take("private_key"), config.private_key)?;
    let jwks_url = once("jwks_url", fields.text("jwks_url")?, config.jwks_url)?;
    let scope = once("scope", fields.text("scope")?, config.scope)?;
    let algorithm = fields.text("algorithm")?;
    let wanted = fields.flag("use_smart_auth")?;
    let bearer = fields.text("bearer_token")?.map(|token| bearer(&token)).transpose()?;

    let given = token_url.is_some() || client_id.is_some() || private_key.is_some();
    if !wanted.unwrap_or(given) {
        return Ok(bearer.map_or(Credentials::Open, Credentials::Bearer));
    }
    if bearer.is_some() {
        return Err(Problem::invalid(
            "bearer_token and SMART authentication are given together; leave bearer_token out, or set use_smart_auth to false.",
        ));
    }
    check_algorithm(algorithm.as_deref())?;
    let (Some(token_url), Some(client_id), Some(private_key)) = (&token_url, client_id, &private_key) else {
        return Err(missing(token_url.is_none(), private_key.is_none()));
    };
    for (field, url) in [("token_url", Some(token_url)), ("jwks_url", jwks_url.as_ref())] {
        if let Some(url) = url {
            rules.parse(url).map_err(|e| Problem::invalid(format!("{field}: {e}.")))?;
        }
    }
    Ok(Credentials::Smart(Box::new(Smart { token_url: token_url.clone(), client_id, key: key(private_key)?, jwks_url, scope })))
}

fn once<T>(name: &str, given: Option<T>, configured: Option<T>) -> Result<Option<T>, Problem> {
    match (given, configured) {
        (Some(_), Some(_)) => Err(Problem::invalid(format!("{name} is given in config and beside it; give it once."))),
        (given, configured) => Ok(given.or(configured)),
    }
}

/// Names what SMART authentication lacks. `client_id` is what is left when the others are there.
fn missing(token_url: bool, private_key: bool) -> Problem {
    let lacks = match (token_url, private_key) {
        (true, true) => "token_url and private_key",
        (true, false) => "token_url",
        (false, true) => "private_key",
        (false, false) => "client_id",
    };
    Problem::invalid(format!(
        "SMART authentication needs token_url, client_id and private_key; {lacks} is missing. For an open server leave all of them out and set use_smart_auth to false."
    ))
}

fn check_algorithm(algorithm: Option<&str>) -> Result<(), Problem> {
    match algorithm {
        None | Some(Smart::ALGORITHM) => Ok(()),
        Some(other) => {
            let shown: String = other.chars().take(16).collect();
            Err(Problem::invalid(format!("algorithm {shown:?} is not supported by this version; register an RSA key and use RS384.")))
        }
    }
}

fn key(value: &Value) -> Result<PrivateKey, Problem> {
    let long = value.as_str().map_or_else(|| value.to_string().len(), str::len) > LONGEST_KEY;
    if long {
        return Err(Problem::invalid("private_key is longer than any key; give the JWK or the PEM alone."));
    }
    PrivateKey::from_request(value).map_err(|e| Problem::invalid(format!("{e}.")))
}

/// A token that can stand in a header (RFC 6750, 2.1).
fn bearer(token: &str) -> Result<SecretString, Problem> {
    let token = token.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer ")).map_or(token, |_| token[7..].trim());
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Problem::invalid("bearer_token holds characters that no token has; give the token alone."));
    }
    Ok(SecretString::from(token))
}
