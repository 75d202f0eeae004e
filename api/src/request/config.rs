//! `config`: the JSON that the SMART page offers for download, in its older and newer forms, or that of the official
//! client. Members that are neither credentials nor the server's URL are left alone: the file is not ours.

use serde_json::{Map, Value, json};

use super::fields::{Fields, plain};
use crate::problem::Problem;

/// What it held.
#[derive(Default)]
pub struct Config {
    pub given: bool,
    pub fhir_url: Option<String>,
    pub token_url: Option<String>,
    pub client_id: Option<String>,
    pub private_key: Option<Value>,
    pub jwks_url: Option<String>,
    pub scope: Option<String>,
}

const FHIR_URL: &[&str] = &["fhir_server_url", "fhir_url", "fhirUrl", "fhirServerUrl", "fhirURL"];
const TOKEN_URL: &[&str] = &["token_url", "tokenUrl", "token_endpoint", "tokenEndpoint", "tokenURL"];
const CLIENT_ID: &[&str] = &["client_id", "clientId", "clientID"];
const PRIVATE_KEY: &[&str] = &["private_key", "privateKey", "key", "jwk", "jwks"];
const JWKS_URL: &[&str] = &["jwks_url", "jwksUrl", "jwks_uri", "jwksURL"];
const SCOPE: &[&str] = &["scope", "scopes"];

/// All names that are read, for the description.
#[cfg(test)]
pub(super) const NAMES: [&[&str]; 7] = [FHIR_URL, TOKEN_URL, CLIENT_ID, PRIVATE_KEY, JWKS_URL, SCOPE, &["auth_type", "authType"]];

impl Config {
    /// Takes it from the request, if it is there: an object, or a string that holds one.
    pub fn take(fields: &mut Fields) -> Result<Self, Problem> {
        let wrong = || Problem::invalid("config must be the JSON object that was downloaded from the SMART page.");
        let members = match fields.take("config") {
            None => return Ok(Self::default()),
            Some(Value::Object(members)) => members,
            Some(Value::String(text)) => serde_json::from_str(&text).map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        // The official client writes "none" for a server without authentication.
        let token_url = text(&members, TOKEN_URL)?.filter(|url| url != "none");
        let mut config = Self {
            given: true,
            fhir_url: text(&members, FHIR_URL)?,
            token_url,
            client_id: text(&members, CLIENT_ID)?,
            private_key: key(&members),
            jwks_url: text(&members, JWKS_URL)?,
            scope: text(&members, SCOPE)?,
        };
        let open = members.get("auth_type").or_else(|| members.get("authType")).and_then(Value::as_str);
        if matches!(open, Some("none" | "open")) || (config.token_url.is_none() && config.private_key.is_none()) {
            config = Self { given: true, fhir_url: config.fhir_url, ..Self::default() };
        }
        Ok(config)
    }
}

fn find<'a>(members: &'a Map<String, Value>, names: &[&str]) -> Option<(&'a str, &'a Value)> {
    members.iter().find(|(name, value)| names.contains(&name.as_str()) && !value.is_null()).map(|(name, value)| (name.as_str(), value))
}

fn text(members: &Map<String, Value>, names: &[&str]) -> Result<Option<String>, Problem> {
    match find(members, names) {
        None => Ok(None),
        Some((name, Value::String(text))) => Ok(Some(plain(name, text)?.to_owned()).filter(|text| !text.is_empty())),
        Some((name, _)) => Err(Problem::invalid(format!("{name} in config must be a string."))),
    }
}

/// The first that is not empty; a bare list of keys is a JWKS.
fn key(members: &Map<String, Value>) -> Option<Value> {
    PRIVATE_KEY.iter().filter_map(|name| members.get(*name)).find_map(|value| match value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::Object(object) if object.is_empty() => None,
        Value::Array(keys) => Some(json!({ "keys": keys })),
        value => Some(value.clone()),
    })
}
