//! A client of the HTTP API, for the command line.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use uuid::Uuid;

/// Talks to one API.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    token: Option<SecretString>,
}

/// How to get past an API that asks who calls.
const TOKEN: &str = "make a token on the page Tokens of the web pages (an admin may), or with `bulkhead-api tokens add NAME --role operator`, and set \
                     BULKHEAD_TOKEN to it";

impl Client {
    /// The API at an address; with a token, if it asks who calls.
    #[expect(clippy::disallowed_methods, reason = "a client of our own API on this machine, not of FHIR servers")]
    pub fn new(address: SocketAddr, token: Option<SecretString>) -> Self {
        let token = token.filter(|token| !token.expose_secret().trim().is_empty());
        Self { base: format!("http://{address}"), http: reqwest::Client::new(), token }
    }

    /// Whether it asks who calls, and we could not say.
    pub async fn needs_a_token(&self) -> bool {
        let asked = self.http.get(format!("{}/api/bulk-data/jobs?limit=1", self.base)).send().await;
        self.token.is_none() && asked.is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED)
    }

    /// The same API, with a token.
    #[must_use]
    pub fn with_token(self, token: SecretString) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Whether it answers and can work.
    pub async fn is_ready(&self) -> bool {
        let asked = self.http.get(format!("{}/health/ready", self.base)).timeout(Duration::from_secs(2)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// A request; a problem (RFC 9457) becomes an error in its words.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>, wait: Option<u32>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).timeout(Duration::from_secs(90));
        if let Some(wait) = wait {
            request = request.header("prefer", format!("wait={wait}"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = &self.token {
            // Marked as sensitive: nothing shows it.
            request = request.bearer_auth(token.expose_secret().trim());
        }
        let answer = request.send().await.map_err(|error| {
            if error.is_connect() {
                anyhow::anyhow!("no Bulkhead answers at {}; start it with `bulkhead up`, or name its address with --api-listen", self.base)
            } else {
                anyhow::Error::from(error).context(format!("{} does not answer well", self.base))
            }
        })?;
        let status = answer.status();
        match &self.token {
            None if status == StatusCode::UNAUTHORIZED => bail!("{} asks who calls: {TOKEN}", self.base),
            Some(_) if status == StatusCode::UNAUTHORIZED => {
                bail!("the token in BULKHEAD_TOKEN is not known to {}, has expired, or is revoked: {TOKEN}", self.base)
            }
            _ => {}
        }
        let body: Value = answer.json().await.context("the API's answer is not JSON")?;
        if !status.is_success() && status != StatusCode::NOT_MODIFIED {
            bail!("{}", body["detail"].as_str().or(body["title"].as_str()).unwrap_or("the API refused the request"));
        }
        Ok(body)
    }

    pub async fn kick_off(&self, body: &Value) -> anyhow::Result<Uuid> {
        let answer = self.ask(Method::POST, "/api/bulk-data/kick-off", Some(body), Some(0)).await?;
        answer["job_id"].as_str().and_then(|id| id.parse().ok()).context("the API's answer has no job_id")
    }

    pub async fn status(&self, job: Uuid) -> anyhow::Result<Value> {
        self.ask(Method::GET, &format!("/api/bulk-data/status/{job}"), None, None).await
    }
}
