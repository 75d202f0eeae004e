//! FHIR errors: an HTTP status with an `OperationOutcome` (R4, `OperationOutcome`).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Duration;
use serde_json::{Value, json};

use crate::door;
use crate::faults::{Refusal, RetryAfter};

/// Why a FHIR request is refused.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    outcome: Value,
    retry_after: Option<u64>,
}

impl Refused {
    pub fn new(status: StatusCode, issue: &str, text: impl Into<String>) -> Self {
        Self::with(status, outcome("error", issue, &text.into()))
    }

    /// With an `OperationOutcome` of its own.
    pub fn with(status: StatusCode, outcome: Value) -> Self {
        Self { status, outcome, retry_after: None }
    }

    /// Seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    pub fn bad_request(issue: &str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, issue, text)
    }

    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", text)
    }

    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "login",
            "The access token is missing, wrong, expired or revoked: get one at the token endpoint",
        )
    }

    /// The sandbox itself failed.
    pub fn broken(error: &anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "exception", format!("{error:#}"))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = fhir(self.status, &self.outcome);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let issue = self.issue.unwrap_or_else(|| usual_issue(self.status).to_owned());
        let text = self.text.unwrap_or_else(|| format!("A fault of the sandbox: {status}"));
        let mut response = fhir(status, &outcome("error", &issue, &text));
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, after.value());
        }
        response
    }
}

impl RetryAfter {
    /// Both forms of RFC 9110, section 10.2.3, and what real servers send instead.
    pub fn value(self) -> HeaderValue {
        let ahead = |seconds: i64| door::now() + Duration::seconds(seconds.clamp(-10_000_000_000, 10_000_000_000));
        match self {
            Self::Seconds(seconds) => seconds.into(),
            Self::Date(seconds) => http_date(ahead(seconds)),
            Self::Epoch(seconds) => ahead(seconds).timestamp().into(),
            Self::EpochMillis(seconds) => ahead(seconds).timestamp_millis().into(),
            Self::Text(text) => HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("soon")),
        }
    }
}

pub fn http_date(at: chrono::DateTime<chrono::Utc>) -> HeaderValue {
    HeaderValue::from_str(&httpdate::fmt_http_date(at.into())).expect("a date is ASCII")
}

/// An `OperationOutcome` with one issue.
pub fn outcome(severity: &str, issue: &str, text: &str) -> Value {
    json!({
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": issue, "diagnostics": text, "details": {"text": text}}],
    })
}

/// A JSON answer as FHIR.
pub fn fhir(status: StatusCode, body: &Value) -> Response {
    let kind = (header::CONTENT_TYPE, "application/fhir+json; charset=utf-8");
    (status, [kind], body.to_string()).into_response()
}

fn usual_issue(status: u16) -> &'static str {
    match status {
        401 => "login",
        403 => "forbidden",
        404 => "not-found",
        410 => "deleted",
        413 => "too-costly",
        429 => "throttled",
        400..=499 => "processing",
        502 | 503 => "transient",
        504 => "timeout",
        _ => "exception",
    }
}
