//! SMART Backend Services (SMART App Launch 2.2, "Backend Services"): a signed assertion for an access token, minted once
//! for all workers; and requests that carry it.

use std::time::Duration;

use bulkhead_shared::{
    clock,
    db::access_tokens::AccessToken,
    domain::{failure::Reason, private_key::PrivateKey, source::Auth},
    queue::{StageError, Trouble},
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Response;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::{
    http::{Ask, Http, SMALL_BODY},
    outcome::shorten,
    retry_after,
};
use crate::work::Tokens;

/// How long to wait for another worker that is minting.
const PATIENCE: Duration = Duration::from_secs(70);
/// How long minting may take: less than the lease on it (60 s).
const MINTING: Duration = Duration::from_secs(50);
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What is asked for when the source names no scope.
const DEFAULT_SCOPE: &str = "system/*.read";

/// Sends a request with the source's token; a 401 mints a new one, once. A bearer token that a user gave goes to the source's own
/// origin only, wherever the server points.
pub async fn send(http: &Http, tokens: &Tokens<'_>, mut ask: Ask) -> Result<Response, StageError> {
    let own = Url::parse(&tokens.source.base_url).is_ok_and(|base| base.origin() == ask.url.origin());
    if tokens.source.auth == Auth::Bearer && !own {
        return http.send(&ask).await;
    }
    let Some(token) = token(http, tokens).await? else {
        return http.send(&ask).await;
    };
    ask.token = Some(token.token);
    let answer = http.send(&ask).await?;
    if answer.status().as_u16() != 401 || tokens.source.auth != Auth::Smart {
        return Ok(answer);
    }
    tracing::info!("the server refused the access token; minting a new one");
    tokens.invalidate(token.version).await?;
    ask.token = self::token(http, tokens).await?.map(|token| token.token);
    http.send(&ask).await
}

/// The source's token: a good one from its row, or a new one. `None` for an open server.
pub async fn token(http: &Http, tokens: &Tokens<'_>) -> Result<Option<AccessToken>, StageError> {
    match tokens.source.auth {
        Auth::Open => Ok(None),
        Auth::Bearer => {
            let token = String::from_utf8(tokens.secret().await?).unwrap_or_default();
            Ok(Some(AccessToken { token, version: 0 }))
        }
        Auth::Smart => shared(http, tokens).await,
    }
}

/// Whoever takes the right to mint does; the others wait for the row.
async fn shared(http: &Http, tokens: &Tokens<'_>) -> Result<Option<AccessToken>, StageError> {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(token) = tokens.current().await? {
            return Ok(Some(token));
        }
        let minter = Uuid::new_v4();
        if let Some(version) = tokens.take_minting(minter).await? {
            let minted = match tokio::time::timeout(MINTING, mint(http, tokens)).await.unwrap_or_else(|_| Err(too_slow())) {
                Ok(minted) => minted,
                Err(error) => {
                    tokens.give_up_minting(minter).await?;
                    return Err(error);
                }
            };
            tokens.store(minter, version, &minted.access_token, minted.scope.as_deref(), minted.usable()).await?;
        } else if began.elapsed() > PATIENCE {
            return Err(StageError::Again("another worker is minting the access token".to_owned(), Duration::from_secs(2)));
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn too_slow() -> StageError {
    let detail = format!("Timeout exceeded: the token endpoint did not answer within {} s.", MINTING.as_secs());
    StageError::Retry(Trouble::new(Reason::Unreachable, detail, "check token_url, the network and the server; then retry the export"), None)
}

#[derive(Deserialize)]
struct Minted {
    access_token: String,
    /// Seconds; a string on some servers.
    #[serde(default)]
    expires_in: serde_json::Value,
    #[serde(default)]
    scope: Option<String>,
}

impl Minted {
    /// Minted again 30 s before expiry, or at half of a short life: never used on its last second.
    fn usable(&self) -> Duration {
        let seconds = self.expires_in.as_f64().or_else(|| self.expires_in.as_str()?.parse().ok()).unwrap_or(300.0).clamp(2.0, 86_400.0);
        Duration::from_secs_f64((seconds - 30.0).max(seconds / 2.0))
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    jti: String,
}

/// Asks the token endpoint. A refusal with the server's clock far from ours is asked once more with its clock.
async fn mint(http: &Http, tokens: &Tokens<'_>) -> Result<Minted, StageError> {
    let token_url = tokens.source.token_url.as_deref().unwrap_or_default();
    let url: Url = token_url.parse().map_err(|_| {
        StageError::Fail(Trouble::new(Reason::Credentials, "token_url is not a URL.", "submit the export again with the right token_url"))
    })?;
    let key: PrivateKey = serde_json::from_slice(&tokens.secret().await?).map_err(|_| {
        StageError::Fail(Trouble::new(Reason::Internal, "The stored key cannot be read.", "submit the export again with its private_key"))
    })?;
    let ours = clock::now();
    let answer = request(http, tokens, &url, &key, ours).await?;
    let theirs: DateTime<Utc> = retry_after::server_time(answer.headers()).into();
    let refusal = match read(http, answer).await? {
        Ok(minted) => return Ok(minted),
        Err(refusal) => refusal,
    };
    if (theirs - ours).abs() > chrono::Duration::seconds(30) {
        tracing::info!(skew_seconds = (theirs - ours).num_seconds(), "the server's clock differs; asking again by its clock");
        let answer = request(http, tokens, &url, &key, theirs).await?;
        return read(http, answer).await?.map_err(Refused::into_error);
    }
    Err(refusal.into_error())
}

async fn request(http: &Http, tokens: &Tokens<'_>, url: &Url, key: &PrivateKey, now: DateTime<Utc>) -> Result<Response, StageError> {
    let source = tokens.source;
    let mut header = Header::new(Algorithm::RS384);
    header.kid.clone_from(&key.kid);
    // `jku` only when the client registered a JWKS URL.
    header.jku.clone_from(&source.jwks_url);
    let claims = Claims {
        iss: &source.client_id,
        sub: &source.client_id,
        aud: source.token_url.as_deref().unwrap_or_default(),
        exp: now.timestamp() + 290,
        iat: now.timestamp(),
        jti: Uuid::new_v4().to_string(),
    };
    let assertion = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_rsa_der(&key.der())).map_err(|_| {
        StageError::Fail(Trouble::new(
            Reason::Credentials,
            "SMART authentication failed: the private key cannot sign.",
            "submit the export again with the right private_key",
        ))
    })?;
    let mut ask = Ask::new(reqwest::Method::POST, url.clone()).accept("application/json").form(&[
        ("grant_type", "client_credentials"),
        ("scope", source.scope.as_deref().unwrap_or(DEFAULT_SCOPE)),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", &assertion),
    ]);
    // The assertion in the body is for this endpoint only.
    ask.same_origin_only = true;
    http.send(&ask).await
}

/// A refusal of the token endpoint (RFC 6749, 5.2).
struct Refused {
    status: u16,
    error: Option<String>,
    description: Option<String>,
    retry_after: Option<Duration>,
}

async fn read(http: &Http, answer: Response) -> Result<Result<Minted, Refused>, StageError> {
    #[derive(Deserialize)]
    struct OAuthError {
        error: String,
        #[serde(default)]
        error_description: Option<String>,
    }
    let status = answer.status();
    let retry_after = retry_after::of(answer.headers());
    let body = http.body(answer, SMALL_BODY).await?;
    if status.is_success() {
        return serde_json::from_slice(&body).map(Ok).map_err(|_| {
            StageError::Retry(
                Trouble::new(
                    Reason::Credentials,
                    "SMART authentication failed: the token endpoint's answer holds no access_token.",
                    "check token_url",
                ),
                None,
            )
        });
    }
    let parsed: Option<OAuthError> = serde_json::from_slice(&body).ok();
    let (error, description) = parsed.map_or((None, None), |e| (Some(e.error), e.error_description));
    Ok(Err(Refused { status: status.as_u16(), error, description, retry_after }))
}

impl Refused {
    fn into_error(self) -> StageError {
        let said = match (&self.error, &self.description) {
            (Some(error), Some(description)) => shorten(&format!("{error}: {description}")),
            (Some(error), None) => shorten(error),
            _ => format!("HTTP {}", self.status),
        };
        let remedy = "check that client_id is right, that the private key is the registered one, and that token_url is right; \
                      a configuration of the SMART page expires: make a new one";
        match (self.status, self.error.as_deref()) {
            (429 | 500.., _) => StageError::Retry(
                Trouble::new(
                    Reason::Unreachable,
                    format!("The token endpoint did not answer well ({said})."),
                    "wait until the server is well again, then retry the export",
                ),
                self.retry_after,
            ),
            (_, Some("invalid_scope")) => StageError::Fail(Trouble::new(
                Reason::Forbidden,
                format!("SMART authentication failed: the server does not grant the scope ({said})."),
                "ask the server's operator which scopes this client may have",
            )),
            (_, Some(_)) => StageError::Fail(Trouble::new(
                Reason::Credentials,
                format!("SMART authentication failed: Invalid JWT (the server said: {said})."),
                remedy,
            )),
            // A bare 4xx without an OAuth error: Epic's token endpoint does that now and then.
            _ => StageError::Retry(
                Trouble::new(Reason::Credentials, format!("SMART authentication failed: {said} without a reason."), remedy),
                None,
            ),
        }
    }
}
