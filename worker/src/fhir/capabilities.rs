//! CapabilityStatement: what a server says of itself (FHIR R4, "capabilities").

use bulkhead_shared::queue::StageError;
use url::Url;

use super::{
    answer::Refusal,
    auth,
    http::{Ask, Http},
    searchable::Searchable,
};
use crate::work::Tokens;

/// Statements of large servers are megabytes.
const LARGEST: usize = 64 << 20;

/// The resource types that the server says it has, sorted; none if it does not say.
pub async fn resource_types(http: &Http, tokens: &Tokens<'_>) -> Result<Vec<String>, StageError> {
    let Ok(url) = Url::parse(&format!("{}/metadata", tokens.source.base_url)) else { return Ok(Vec::new()) };
    let answer = auth::send(http, tokens, Ask::get(url).accept("application/fhir+json")).await?;
    match answer.status().as_u16() {
        200 => {}
        408 | 429 | 500.. => return Err(Refusal::read(http, answer).await?.again("The server's CapabilityStatement cannot be read")),
        _ => return Ok(Vec::new()),
    }
    let body = http.body(answer, LARGEST).await?;
    let statement = Searchable::read(&body).unwrap_or_default();
    Ok(statement.listed().map(str::to_owned).collect())
}
