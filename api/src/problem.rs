//! What went wrong, as RFC 9457 `application/problem+json`. `detail` always says what to do next.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_shared::db;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi::ProblemType;

/// The kinds of problems. Each has a stable `type` that programs may compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    InvalidRequest,
    InvalidJson,
    UnknownField,
    UnescapedKey,
    BodyTooLarge,
    BodyTooSlow,
    CrossOrigin,
    Unauthenticated,
    Forbidden,
    CsrfToken,
    NotFound,
    MethodNotAllowed,
    Conflict,
    WrongHost,
    IdempotencyKeyReused,
    Internal,
    Unavailable,
}

impl Kind {
    pub const ALL: [Self; 17] = [
        Self::InvalidRequest,
        Self::InvalidJson,
        Self::UnknownField,
        Self::UnescapedKey,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::CrossOrigin,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::CsrfToken,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::WrongHost,
        Self::IdempotencyKeyReused,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The word that names it, the last of its `type`.
    pub const fn word(self) -> &'static str {
        let path = self.facts().1.as_bytes();
        // "/problems/" is ten letters long.
        let (_, word) = path.split_at(10);
        match std::str::from_utf8(word) {
            Ok(word) => word,
            Err(_) => "",
        }
    }

    /// Status, `type` and `title`.
    pub const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "/problems/invalid-request", "The request cannot be used"),
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "/problems/invalid-json", "The body is not JSON"),
            Self::UnknownField => (StatusCode::BAD_REQUEST, "/problems/unknown-field", "The request has an unknown field"),
            Self::UnescapedKey => (StatusCode::BAD_REQUEST, "/problems/unescaped-key", "The private key breaks the JSON around it"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "/problems/body-too-large", "The body is too large"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "/problems/body-too-slow", "The body did not arrive"),
            Self::CrossOrigin => (StatusCode::FORBIDDEN, "/problems/cross-origin", "Another site may not do this"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "/problems/unauthenticated", "It is not known who calls"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "/problems/forbidden", "The caller's role does not allow this"),
            Self::CsrfToken => (StatusCode::FORBIDDEN, "/problems/csrf-token", "The request does not prove that it comes from our page"),
            Self::NotFound => (StatusCode::NOT_FOUND, "/problems/not-found", "There is no such thing"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "/problems/method-not-allowed", "The method is not offered here"),
            Self::Conflict => (StatusCode::CONFLICT, "/problems/conflict", "Its state does not allow this"),
            Self::WrongHost => (StatusCode::MISDIRECTED_REQUEST, "/problems/wrong-host", "This server does not answer to that name"),
            Self::IdempotencyKeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "/problems/idempotency-key-reused", "The Idempotency-Key belongs to another request")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", "Bulkhead made a mistake"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "/problems/unavailable", "It cannot be served now"),
        }
    }
}

/// A problem and, for the log only, its cause.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Problem {
    /// `detail`: what happened and what to do next. No secrets, no signed URLs.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), cause: None }
    }

    /// A request that must be changed before it is sent again.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidRequest, detail)
    }

    /// Ours. The cause goes to the log, an id to the client.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Internal, detail: String::new(), cause: Some(cause.into()) }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if db::is_away(&error) || matches!(error, sqlx::Error::PoolClosed) {
            return Self {
                kind: Kind::Unavailable,
                detail: "Postgres does not answer; nothing is lost. Ask again in a moment.".to_owned(),
                cause: Some(error.into()),
            };
        }
        if db::took_too_long(&error) {
            return Self {
                kind: Kind::Unavailable,
                detail: "It took too long and was ended. Ask for less, by a narrower filter; or again in a moment.".to_owned(),
                cause: Some(error.into()),
            };
        }
        if db::has_nul(&error) {
            return Self::invalid("A text in the request holds a NUL character, which nothing that is kept can have; leave it out.");
        }
        // A value too long for an index: ours to allow, the client's to shorten.
        if error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("54000") {
            return Self::invalid("fhir_server_url and client_id (or status_url) are too long to be kept; use shorter ones.");
        }
        Self::internal(error)
    }
}

/// A problem as it was told; it goes with the response, and a page is made of it where people ask.
#[derive(Debug, Clone)]
pub struct Told {
    pub kind: Kind,
    pub detail: String,
}

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// Stable: programs may compare it.
    #[serde(rename = "type")]
    #[schema(value_type = ProblemType)]
    kind: &'static str,
    /// The same for each `type`.
    title: &'static str,
    /// The HTTP status again.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened here, and what to do next. Holds no secrets.
    detail: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.kind.facts();
        let mut detail = self.detail;
        // The one place where a failure of ours is logged.
        if self.kind == Kind::Internal {
            let error_id = Uuid::new_v4();
            let cause = self.cause.map(|cause| cause.to_string()).unwrap_or_default();
            tracing::error!(%error_id, %cause, "a request failed");
            detail = format!("It is logged with the error id {error_id}. Try again; if it stays, report it with this id.");
        } else if let Some(cause) = self.cause {
            tracing::warn!(%cause, "a request could not be served");
        }
        let told = Told { kind: self.kind, detail: detail.clone() };
        let body = Body { kind, title, status: status.as_u16(), detail };
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(told);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.kind == Kind::Unavailable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
