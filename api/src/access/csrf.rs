//! What a page of ours proves when it changes something: a token that follows from the session's cookie, in a form's field or, by script,
//! in a header. Another site's page knows neither. Beside it the browser says where a request comes from (`hosts` looks at that).

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest as _, Request},
    http::header,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::form_urlencoded;

use crate::routes::SLOWEST_BODY;

/// The header, for requests by script.
pub const HEADER: &str = "x-csrf-token";
/// The field of a form.
pub const FIELD: &str = "csrf";

/// Of a session. It tells neither the cookie nor the hash that is kept of it.
pub fn of(cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(b"bulkhead csrf\0").chain_update(cookie).finalize())
}

/// The request, if it brings the token. A form is read for it and put back.
pub async fn check(request: Request, expected: &str) -> Option<Request> {
    if let Some(given) = request.headers().get(HEADER) {
        return same(given.as_bytes(), expected).then_some(request);
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let (head, body) = request.into_parts();
    // Its size is bounded by the router's limit.
    let read = Request::from_parts(head.clone(), body);
    let body = tokio::time::timeout(SLOWEST_BODY, Bytes::from_request(read, &())).await.ok()?.ok()?;
    let given = form_urlencoded::parse(&body).find_map(|(name, value)| (name == FIELD).then_some(value));
    let good = given.is_some_and(|given| same(given.as_bytes(), expected));
    good.then(|| Request::from_parts(head, Body::from(body)))
}

fn same(given: &[u8], expected: &str) -> bool {
    given.ct_eq(expected.as_bytes()).into()
}
