//! A small client of the sandbox.

use std::time::Duration;

use bulkhead_sandbox::{Sandbox, SandboxConfig};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

pub const GROUP: &str = "FallonHealth";

/// Three patients a Group, exports ready at once.
pub fn quick() -> SandboxConfig {
    SandboxConfig { scale: 0.1, export_time: Duration::ZERO, ..SandboxConfig::default() }
}

pub fn start(config: SandboxConfig) -> Sandbox {
    Sandbox::start(config).expect("the sandbox starts")
}

/// A client that neither asks for gzip nor unpacks it, and opens a connection for each request.
#[expect(clippy::disallowed_methods, reason = "the door to HTTP clients of these tests")]
pub fn http() -> Client {
    Client::builder().no_gzip().pool_max_idle_per_host(0).timeout(Duration::from_secs(30)).build().expect("an HTTP client")
}

pub fn kick_off(sandbox: &Sandbox, path: &str) -> RequestBuilder {
    http().get(format!("{}/{path}", sandbox.base_url())).header("accept", "application/fhir+json").header("prefer", "respond-async")
}

pub fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

/// Kicks off a Group's export and gives its status URL.
pub async fn status_url(sandbox: &Sandbox) -> String {
    let response = kick_off(sandbox, &format!("Group/{GROUP}/$export")).send().await.expect("an answer");
    assert_eq!(response.status(), 202);
    header(&response, "content-location").to_owned()
}

pub async fn get(url: &str) -> Response {
    http().get(url).send().await.expect("an answer")
}

pub async fn json(url: &str) -> Value {
    get(url).await.json().await.expect("JSON")
}

/// The manifest of a fresh export of a Group.
pub async fn manifest(sandbox: &Sandbox) -> Value {
    json(&status_url(sandbox).await).await
}

/// The URL of the first file of that type.
pub fn file_url(manifest: &Value, kind: &str) -> String {
    let files = manifest["output"].as_array().expect("an output");
    let file = files.iter().find(|file| file["type"] == kind).expect("a file of the type");
    file["url"].as_str().expect("a URL").to_owned()
}

pub fn count_lines(ndjson: &[u8]) -> u64 {
    ndjson.split_inclusive(|byte| *byte == b'\n').count() as u64
}

pub async fn body(url: &str) -> Result<Vec<u8>, reqwest::Error> {
    let response = http().get(url).send().await?.error_for_status()?;
    Ok(response.bytes().await?.to_vec())
}
