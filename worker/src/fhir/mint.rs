//! Minting: a signed assertion for an access token (SMART App Launch 2.2, "Obtain access token").

use std::time::Duration;

use bulkhead_shared::{
    clock,
    domain::{
        failure::Reason,
        private_key::{Algorithm, KeyKind, PrivateKey},
    },
    queue::{StageError, Trouble},
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{EncodingKey, Header};
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

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A new access token.
pub struct Minted {
    pub token: String,
    /// What was granted: what was asked for, where the server does not say (RFC 6749, 5.1).
    pub scope: String,
    /// How long it may be used.
    pub usable: Duration,
}

/// Asks the token endpoint for the first scope that it grants.
pub async fn mint(http: &Http, tokens: &Tokens<'_>, scopes: &[String]) -> Result<Minted, StageError> {
    let Some(endpoint) = tokens.source.token_endpoint() else {
        return Err(StageError::Fail(Trouble::new(
            Reason::Credentials,
            "Nobody said where to get access tokens.",
            "submit the export again with its token_url",
        )));
    };
    let url: Url = endpoint.parse().map_err(|_| {
        StageError::Fail(Trouble::new(Reason::Credentials, "token_url is not a URL.", "submit the export again with the right token_url"))
    })?;
    let key: PrivateKey = serde_json::from_slice(&tokens.secret().await?).map_err(|_| {
        StageError::Fail(Trouble::new(Reason::Internal, "The stored key cannot be read.", "submit the export again with its private_key"))
    })?;
    let mut question = Question { http, tokens, audience: endpoint, url, key, scope: "" };
    let mut scopes = scopes.iter().peekable();
    while let Some(scope) = scopes.next() {
        question.scope = scope;
        match question.ask().await? {
            Ok(answer) => return Ok(answer.into_minted(scope)),
            Err(refused) if refused.is_of_scope() && scopes.peek().is_some() => {
                tracing::info!(%scope, "the server does not grant this scope; asking for another");
            }
            Err(refused) => return Err(refused.into_error()),
        }
    }
    Err(StageError::Fail(Trouble::new(Reason::Credentials, "No scope is named.", "submit the export again without scope")))
}

/// One assertion for one scope.
struct Question<'q> {
    http: &'q Http,
    tokens: &'q Tokens<'q>,
    /// The token endpoint as it was written: servers compare it letter by letter.
    audience: &'q str,
    url: Url,
    key: PrivateKey,
    scope: &'q str,
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

impl Question<'_> {
    /// A refusal with the server's clock far from ours is asked once more with its clock.
    async fn ask(&self) -> Result<Result<Answer, Refused>, StageError> {
        let ours = clock::now();
        let answer = self.send(ours).await?;
        let theirs: DateTime<Utc> = retry_after::server_time(answer.headers()).into();
        let read = read(self.http, answer).await?;
        if read.as_ref().is_err_and(|refused| !refused.is_of_scope()) && (theirs - ours).abs() > chrono::Duration::seconds(30) {
            tracing::info!(skew_seconds = (theirs - ours).num_seconds(), "the server's clock differs; asking again by its clock");
            let answer = self.send(theirs).await?;
            return self::read(self.http, answer).await;
        }
        Ok(read)
    }

    async fn send(&self, now: DateTime<Utc>) -> Result<Response, StageError> {
        let assertion = self.assertion(now).map_err(|_| {
            StageError::Fail(Trouble::new(
                Reason::Credentials,
                "SMART authentication failed: the private key cannot sign.",
                "submit the export again with the right private_key",
            ))
        })?;
        let mut ask = Ask::new(reqwest::Method::POST, self.url.clone()).accept("application/json").form(&[
            ("grant_type", "client_credentials"),
            ("scope", self.scope),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ]);
        // The assertion in the body is for this endpoint only.
        ask.same_origin_only = true;
        self.http.send(&ask).await
    }

    fn assertion(&self, now: DateTime<Utc>) -> jsonwebtoken::errors::Result<String> {
        let source = self.tokens.source;
        let mut header = Header::new(signer(self.key.algorithm));
        header.kid.clone_from(&self.key.kid);
        // `jku` only when the client registered a JWKS URL.
        header.jku.clone_from(&source.jwks_url);
        let claims = Claims {
            iss: &source.client_id,
            sub: &source.client_id,
            aud: self.audience,
            exp: now.timestamp() + 290,
            iat: now.timestamp(),
            jti: Uuid::new_v4().to_string(),
        };
        let der = self.key.der();
        let key = if self.key.algorithm.kind() == KeyKind::Rsa { EncodingKey::from_rsa_der(&der) } else { EncodingKey::from_ec_der(&der) };
        jsonwebtoken::encode(&header, &claims, &key)
    }
}

const fn signer(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds; a string on some servers.
    #[serde(default)]
    expires_in: serde_json::Value,
    #[serde(default)]
    scope: Option<String>,
}

impl Answer {
    fn into_minted(self, asked: &str) -> Minted {
        // Minted again 30 s before expiry, or at half of a short life: never used on its last second.
        let seconds = self.expires_in.as_f64().or_else(|| self.expires_in.as_str()?.parse().ok()).unwrap_or(300.0).clamp(2.0, 86_400.0);
        Minted {
            usable: Duration::from_secs_f64((seconds - 30.0).max(seconds / 2.0)),
            // Postgres keeps no NUL.
            scope: self.scope.filter(|scope| !scope.contains('\0')).unwrap_or_else(|| asked.to_owned()),
            token: self.access_token,
        }
    }
}

/// A refusal of the token endpoint (RFC 6749, 5.2).
struct Refused {
    status: u16,
    error: Option<String>,
    description: Option<String>,
    retry_after: Option<Duration>,
}

async fn read(http: &Http, answer: Response) -> Result<Result<Answer, Refused>, StageError> {
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
    fn is_of_scope(&self) -> bool {
        self.error.as_deref() == Some("invalid_scope")
    }

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
