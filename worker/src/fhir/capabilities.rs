//! CapabilityStatement: what a server says of itself (FHIR R4, "capabilities").

use bulkhead_shared::queue::StageError;
use serde::Deserialize;
use url::Url;

use super::{
    answer::Refusal,
    auth,
    http::{Ask, Http},
};
use crate::work::Tokens;

/// Statements of large servers are megabytes.
const LARGEST: usize = 64 << 20;

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    resource: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    r#type: String,
}

/// The resource types that the server says it has; none if it does not say.
pub async fn resource_types(http: &Http, tokens: &Tokens<'_>) -> Result<Vec<String>, StageError> {
    let Ok(url) = Url::parse(&format!("{}/metadata", tokens.source.base_url)) else { return Ok(Vec::new()) };
    let answer = auth::send(http, tokens, Ask::get(url).accept("application/fhir+json")).await?;
    match answer.status().as_u16() {
        200 => {}
        408 | 429 | 500.. => return Err(Refusal::read(http, answer).await?.again("The server's CapabilityStatement cannot be read")),
        _ => return Ok(Vec::new()),
    }
    let body = http.body(answer, LARGEST).await?;
    let Ok(statement) = serde_json::from_slice::<Statement>(&body) else { return Ok(Vec::new()) };
    let mut types: Vec<String> = Vec::new();
    for resource in statement.rest.into_iter().flat_map(|rest| rest.resource) {
        if !types.contains(&resource.r#type) {
            types.push(resource.r#type);
        }
    }
    Ok(types)
}
