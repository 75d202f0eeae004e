//! What clients send, read: the body of a kick-off or a resume becomes what to ask, of whom, and as whom.

mod config;
mod credentials;
mod fhir_url;
mod fields;
mod instant;
mod json;
mod parameters;
mod retry;
mod schema;

use bulkhead_shared::domain::{
    export::{Ask, Level},
    outgoing::OutgoingRules,
    source::Dialect,
};
use serde_json::{Map, Value, json};
use url::Url;

pub use credentials::{Credentials, Key, Smart};
pub use fhir_url::group_segment;
pub use json::read as read_json;
pub use retry::{Retry, base_url, reason, retry};
pub use schema::schemas;

use crate::{canonical, problem::Problem};
use config::Config;
use fhir_url::Target;
use fields::Fields;

/// The names of a kick-off's fields: the guide's, ours, then the IG's (Bulk Data IG, "Query Parameters").
const KICK_OFF_FIELDS: &[&str] = &[
    "fhir_server_url",
    "resource_types",
    "since",
    "use_smart_auth",
    "token_url",
    "client_id",
    "private_key",
    "algorithm",
    "kid",
    "key_id",
    "jwks_url",
    "bearer_token",
    "scope",
    "accept_partial",
    "config",
    "parameters",
    "_type",
    "_since",
    "_until",
    "_typeFilter",
    "_elements",
    "patient",
    "includeAssociatedData",
    "organizeOutputBy",
    "allowPartialManifests",
    "_outputFormat",
    "lenient",
    "dialect",
];

const RESUME_FIELDS: &[&str] = &[
    "status_url",
    "fhir_server_url",
    "use_smart_auth",
    "token_url",
    "client_id",
    "private_key",
    "algorithm",
    "kid",
    "key_id",
    "jwks_url",
    "bearer_token",
    "scope",
    "accept_partial",
    "config",
];

/// The members of a downloaded configuration by the names of a kick-off's fields.
pub fn unpack(config: Value) -> Result<Map<String, Value>, Problem> {
    let mut fields = Fields::of(&json!({ "config": config }), KICK_OFF_FIELDS)?;
    let config = Config::take(&mut fields)?;
    let texts = [
        ("fhir_server_url", config.fhir_url),
        ("token_url", config.token_url),
        ("client_id", config.client_id),
        ("jwks_url", config.jwks_url),
        ("scope", config.scope),
    ];
    let given = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
    Ok(given.chain(config.private_key.map(|key| ("private_key".to_owned(), key))).collect())
}

/// What a client asks for, checked.
#[derive(Debug)]
pub struct Submission {
    /// Without a trailing slash.
    pub base_url: String,
    pub ask: Ask,
    pub credentials: Credentials,
    pub accept_partial: bool,
    /// How the server wants to be asked, if the client knows; else it is learned.
    pub dialect: Option<Dialect>,
    /// Of a resume.
    pub status_url: Option<String>,
    /// Tells a repeated request from another one under the same Idempotency-Key.
    pub request_hash: Vec<u8>,
}

/// The body of `POST /api/bulk-data/kick-off`.
pub fn kick_off(body: &Value, rules: &OutgoingRules) -> Result<Submission, Problem> {
    let mut fields = Fields::of(body, KICK_OFF_FIELDS)?;
    let config = Config::take(&mut fields)?;
    let url = match (fields.text("fhir_server_url")?, &config.fhir_url) {
        (Some(given), _) => given,
        (None, Some(configured)) => configured.clone(),
        (None, None) if config.given => {
            return Err(Problem::invalid(
                "config holds no FHIR server URL (the SMART page's file has none): give fhir_server_url beside it, as the page shows it.",
            ));
        }
        (None, None) => {
            return Err(Problem::invalid("fhir_server_url is missing; give for example https://fhir.example.org/fhir/Group/123"));
        }
    };
    let Target { base_url, level, group_id } = Target::parse("fhir_server_url", &url, rules)?;
    let dialect = fields.text("dialect")?.map(|word| dialect(&word)).transpose()?;
    let ask = Ask {
        level,
        group_id,
        resource_types: parameters::resource_types(&mut fields)?,
        since: parameters::since(&mut fields)?,
        parameters: parameters::others(&mut fields)?,
        lenient: fields.flag("lenient")?.unwrap_or(false),
    };
    let accept_partial = fields.flag("accept_partial")?.unwrap_or(false);
    let credentials = credentials::read(&mut fields, config, rules)?;
    Ok(Submission {
        base_url,
        ask,
        credentials,
        accept_partial,
        dialect,
        status_url: None,
        request_hash: canonical::hash(&json!(["kick-off", body])),
    })
}

/// The body of `POST /api/bulk-data/resume`.
pub fn resume(body: &Value, rules: &OutgoingRules) -> Result<Submission, Problem> {
    let mut fields = Fields::of(body, RESUME_FIELDS)?;
    let config = Config::take(&mut fields)?;
    let Some(status_url) = fields.text("status_url")? else {
        return Err(Problem::invalid("status_url is missing; give the one that the kick-off answered (the server's Content-Location)."));
    };
    let status_url = rules.parse(&status_url).map_err(|e| Problem::invalid(format!("status_url: {e}.")))?;
    let given = fields.text("fhir_server_url")?;
    let knows_base = given.is_some();
    let base_url = match given {
        Some(given) => Target::parse("fhir_server_url", &given, rules)?.base_url,
        None => origin(&status_url),
    };
    let credentials = credentials::read(&mut fields, config, rules)?;
    if matches!(&credentials, Credentials::Smart(smart) if smart.token_url.is_none()) && !knows_base {
        return Err(Problem::invalid(
            "SMART authentication without token_url needs fhir_server_url: the server's configuration is looked for below it.",
        ));
    }
    // A token given by hand goes to the status URL's origin, never elsewhere.
    if matches!(credentials, Credentials::Bearer(_)) && Url::parse(&base_url).map(|url| url.origin()) != Ok(status_url.origin()) {
        return Err(Problem::invalid(
            "fhir_server_url and status_url are on different servers, and bearer_token is sent to one only; leave fhir_server_url out.",
        ));
    }
    Ok(Submission {
        base_url,
        ask: Ask {
            level: Level::Unknown,
            group_id: None,
            resource_types: Vec::new(),
            since: None,
            parameters: serde_json::Map::new(),
            lenient: false,
        },
        credentials,
        dialect: None,
        accept_partial: fields.flag("accept_partial")?.unwrap_or(false),
        status_url: Some(status_url.to_string()),
        request_hash: canonical::hash(&json!(["resume", body])),
    })
}

fn dialect(word: &str) -> Result<Dialect, Problem> {
    word.parse().map_err(|_| {
        let known: Vec<&str> = Dialect::ALL.iter().map(|dialect| dialect.as_str()).collect();
        Problem::invalid(format!("dialect must be one of {}; or leave it out, it is learned.", known.join(", ")))
    })
}

/// `scheme://host[:port]`.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests;
