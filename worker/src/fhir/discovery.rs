//! Discovery: what a server says of itself, first in its smart-configuration (SMART App Launch 2.2, "Using Well-Known"), then, as older
//! servers do, in its CapabilityStatement ("oauth-uris").

use std::time::Duration;

use bulkhead_shared::{
    domain::{
        failure::Reason,
        outgoing::without_query,
        source::{Discovered, Source},
    },
    queue::{StageError, Trouble},
};
use reqwest::Url;
use serde_json::Value;

use super::http::{Ask, Http, SMALL_BODY};
use crate::work::Work;

const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";
/// CapabilityStatements of real servers have a few megabytes.
const STATEMENT_BODY: usize = 32 << 20;
/// For one document. A server that hangs here is asked by what is known without it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Scopes and capabilities beyond any real list, in number and in length.
const MOST_WORDS: usize = 5_000;
const LONGEST_WORD: usize = 1_000;

/// Where a token endpoint was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    SmartConfiguration,
    CapabilityStatement,
}

/// What was found. Without `by` there is no token endpoint.
#[derive(Debug, Default)]
pub struct Discovery {
    pub discovered: Discovered,
    pub by: Option<By>,
    pub has_smart_configuration: bool,
}

/// The source as it is known when its server has been asked for what is missing: where tokens come from, which scopes there are.
/// Asked once a day; what a user named is not asked for.
pub async fn complete(work: &Work) -> Result<Source, StageError> {
    let mut source = work.source.clone();
    let complete = source.token_url.is_some() && source.scope.is_some();
    if complete || (source.discovery_is_fresh && source.token_endpoint().is_some()) {
        return Ok(source);
    }
    match discover(work.http(), &source).await {
        Ok(found) if found.by.is_some() || source.token_url.is_some() => {
            if let Some(endpoint) = &found.discovered.token_endpoint {
                refuse_anothers(work, endpoint).await?;
            }
            work.set_discovered(&found.discovered).await?;
            source.discovered = Some(found.discovered);
            Ok(source)
        }
        // What was known yesterday is better than nothing, and so is what a user gave.
        Ok(_) | Err(_) if source.token_endpoint().is_some() => Ok(source),
        Ok(_) => Err(StageError::Fail(nowhere(&source.base_url))),
        Err(error) => Err(error),
    }
}

/// A server that names the token endpoint of another one, at which the same key is registered, would be given a token for that one
/// (an "authorization server mix-up"). A person may say that they belong together, by giving token_url.
async fn refuse_anothers(work: &Work, endpoint: &str) -> Result<(), StageError> {
    let origin = |url: &str| Url::parse(url).ok().map(|url| url.origin());
    let ours = origin(&work.source.base_url);
    if work.source.token_url.is_some() || origin(endpoint) == ours {
        return Ok(());
    }
    let others = work.others_with_endpoint(endpoint).await?;
    if others.iter().all(|other| origin(other) == ours) {
        return Ok(());
    }
    Err(StageError::Fail(Trouble::new(
        Reason::Refused,
        format!(
            "{} names the token endpoint of another server that this key is used for ({}).",
            without_query(&work.source.base_url),
            without_query(endpoint)
        ),
        "if the two belong together submit the export again with token_url; else use a key for each server",
    )))
}

/// No token endpoint is named anywhere.
pub fn nowhere(base_url: &str) -> Trouble {
    Trouble::new(
        Reason::Credentials,
        format!(
            "SMART authentication failed: {} does not say where to get access tokens, neither in .well-known/smart-configuration nor in its \
             CapabilityStatement.",
            without_query(base_url)
        ),
        "submit the export again with token_url, or check fhir_server_url: the configuration is looked for below it",
    )
}

/// Asks both documents; the second only when a token endpoint is needed and the first has none. What is there but cannot be had now is an
/// error, unless the other has what is needed.
pub async fn discover(http: &Http, source: &Source) -> Result<Discovery, StageError> {
    let (base_url, needs_endpoint) = (&source.base_url, source.token_url.is_none());
    let mut found = Discovery::default();
    let smart = ask(http, &format!("{base_url}/.well-known/smart-configuration"), "application/json", SMALL_BODY).await;
    if let Ok(Some((url, document))) = &smart {
        found.has_smart_configuration = true;
        found.discovered.scopes_supported = words(&document["scopes_supported"]);
        found.discovered.capabilities = words(&document["capabilities"]);
        if let Some(endpoint) = document["token_endpoint"].as_str() {
            found.discovered.token_endpoint = Some(endpoint_at(http, url, endpoint)?);
            found.by = Some(By::SmartConfiguration);
        }
    }
    if found.by.is_some() || !needs_endpoint {
        return smart.map(|_| found);
    }
    let statement = ask(http, &format!("{base_url}/metadata"), "application/fhir+json", STATEMENT_BODY).await;
    if let Ok(Some((url, document))) = &statement
        && let Some(endpoint) = oauth_token(document)
    {
        found.discovered.token_endpoint = Some(endpoint_at(http, url, endpoint)?);
        found.by = Some(By::CapabilityStatement);
        return Ok(found);
    }
    smart.and(statement).map(|_| found)
}

/// A document of the server: where it is and what it holds. `None`: there is none that is JSON.
pub async fn ask(http: &Http, url: &str, accept: &'static str, most: usize) -> Result<Option<(Url, Value)>, StageError> {
    let url: Url = url.parse().map_err(|_| {
        StageError::Fail(Trouble::new(Reason::Refused, "fhir_server_url is not a URL.", "submit the export again with the right URL"))
    })?;
    let place = without_query(url.as_str());
    let asked = async {
        let answer = http.send(&Ask::get(url.clone()).accept(accept)).await?;
        let status = answer.status();
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            let detail = format!("{place} could not be had: HTTP {}.", status.as_u16());
            return Err(StageError::Retry(
                Trouble::new(Reason::Unreachable, detail, "wait until the server is well again, then retry the export"),
                super::retry_after::of(answer.headers()),
            ));
        }
        if !status.is_success() {
            return Ok(None);
        }
        let at = answer.url().clone();
        let body = http.body(answer, most).await?;
        let document = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object);
        Ok(document.map(|document| (at, document)))
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        let detail = format!("Timeout exceeded: {place} took longer than {} s.", PATIENCE.as_secs());
        Err(StageError::Retry(Trouble::new(Reason::Unreachable, detail, "check the network and the server; then retry the export"), None))
    })
}

/// A token endpoint as it is written, made absolute; where we may not connect it is an error.
fn endpoint_at(http: &Http, place: &Url, endpoint: &str) -> Result<String, StageError> {
    let endpoint = endpoint.trim();
    let url = place.join(endpoint).map_err(|_| {
        StageError::Fail(Trouble::new(
            Reason::Refused,
            "The token endpoint that the server names is not a URL.",
            "submit the export again with token_url, and tell the server's operator",
        ))
    })?;
    http.allow(&url)?;
    let absolute = Url::parse(endpoint).is_ok();
    Ok(if absolute { endpoint.to_owned() } else { url.into() })
}

/// `rest.security.extension[oauth-uris].extension[token]` of a CapabilityStatement.
fn oauth_token(statement: &Value) -> Option<&str> {
    fn list(value: &Value) -> std::slice::Iter<'_, Value> {
        value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
    }
    list(&statement["rest"])
        .flat_map(|rest| list(&rest["security"]["extension"]))
        .filter(|extension| extension["url"] == OAUTH_URIS)
        .flat_map(|extension| list(&extension["extension"]))
        .find(|extension| extension["url"] == "token")
        .and_then(|extension| extension["valueUri"].as_str().or_else(|| extension["valueUrl"].as_str()))
}

/// A list of words; what is none is left out.
fn words(value: &Value) -> Vec<String> {
    let fits = |word: &&str| word.len() <= LONGEST_WORD && !word.contains('\0');
    value.as_array().into_iter().flatten().filter_map(Value::as_str).filter(fits).take(MOST_WORDS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_capability_statement_names_the_token_endpoint() {
        let security = json!({"extension": [
            {"url": "http://other", "extension": [{"url": "token", "valueUri": "https://no"}]},
            {"url": OAUTH_URIS, "extension": [{"url": "authorize", "valueUri": "https://a"}, {"url": "token", "valueUri": "https://t"}]},
        ]});
        assert_eq!(oauth_token(&json!({"rest": [{"mode": "client"}, {"security": security}]})), Some("https://t"));
        for other in [json!({}), json!({"rest": {}}), json!({"rest": [{"security": {"extension": [{"url": OAUTH_URIS}]}}]})] {
            assert_eq!(oauth_token(&other), None);
        }
    }
}
