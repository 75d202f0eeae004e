//! The body as JSON, and why it is not.

use serde_json::Value;

use crate::problem::{Kind, Problem};

/// Parses a body. Its content is never repeated in an error: it may hold a key.
pub fn read(body: &[u8]) -> Result<Value, Problem> {
    let text = std::str::from_utf8(body).map_err(|_| Problem::new(Kind::InvalidJson, "The body is not UTF-8; send JSON as UTF-8."))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(Problem::new(
            Kind::InvalidJson,
            "The body is empty; send a JSON object, such as {\"fhir_server_url\": \"https://...\"} to export or {\"all\": true} to retry.",
        ));
    }
    serde_json::from_str(text).map_err(|error| explain(text, &error))
}

/// The guide's curl example puts the key into a string; unescaped, its own quotes end that string.
fn explain(text: &str, error: &serde_json::Error) -> Problem {
    match after_key(text) {
        Some(rest) if is_unescaped_object(rest) => Problem::new(
            Kind::UnescapedKey,
            "The quotes inside private_key are not escaped, so its string ends too early. Pass the key as an object, without quotes around it: \
             \"private_key\": {\"kty\": \"RSA\", ...}; or escape its quotes first, in a shell: \
             PRIVATE_KEY=$(printf %s \"$PRIVATE_KEY\" | sed 's/\"/\\\\\"/g')",
        ),
        Some(rest) if is_broken_pem(rest) => Problem::new(
            Kind::UnescapedKey,
            "The line ends inside private_key are not escaped. Write each as the two characters \\n, in a shell: \
             PRIVATE_KEY=$(awk '{printf \"%s\\\\n\", $0}' key.pem)",
        ),
        _ => Problem::new(
            Kind::InvalidJson,
            format!("The body is not valid JSON at line {} column {}; check quotes and commas there.", error.line(), error.column()),
        ),
    }
}

/// What follows `"private_key":` in a body that is not JSON.
fn after_key(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"private_key\"")?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// `"{"` (or `"[`, `"{ "`): a string that holds an object whose first quote is not escaped.
fn is_unescaped_object(value: &str) -> bool {
    value.strip_prefix('"').is_some_and(|inside| {
        let inside = inside.trim_start();
        inside.starts_with(['{', '[']) && inside[1..].trim_start_matches(|c: char| c.is_whitespace() || c == '{').starts_with('"')
    })
}

fn is_broken_pem(value: &str) -> bool {
    value.strip_prefix('"').is_some_and(|inside| {
        inside.trim_start().starts_with("-----BEGIN") && inside.split('"').next().is_some_and(|pem| pem.contains('\n'))
    })
}
