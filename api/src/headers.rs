//! The request headers we honour.

use std::time::Duration;

use axum::http::{HeaderMap, header};

use crate::problem::Problem;

/// The longest a client may make us wait.
const LONGEST_WAIT: u64 = 60;

/// `Prefer: wait=N` in seconds (RFC 7240, 4.3), at most a minute.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds =
        headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split([',', ';'])).find_map(
            |preference| {
                let (name, value) = preference.split_once('=')?;
                if !name.trim().eq_ignore_ascii_case("wait") {
                    return None;
                }
                value.trim().trim_matches('"').parse::<u64>().ok()
            },
        )?;
    Some(Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

/// Whether `If-None-Match` names this entity tag; compared weakly (RFC 9110, 13.1.2).
pub fn has_it(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// `Idempotency-Key`: 1 to 255 visible characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().map(str::trim).unwrap_or_default();
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::invalid("Idempotency-Key must be 1 to 255 visible ASCII characters; a UUID is a good one."));
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_found_among_preferences_and_clamped() {
        for (given, expected) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=7", Some(7)),
            ("wait = 3", Some(3)),
            ("wait=900", Some(60)),
            ("wait=0", Some(0)),
            ("wait=-1", None),
            ("respond-async", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", given.parse().unwrap());
            assert_eq!(wait(&headers), expected.map(Duration::from_secs), "{given}");
        }
    }

    #[test]
    fn an_entity_tag_is_found_in_a_list() {
        let mut headers = HeaderMap::new();
        headers.insert("if-none-match", r#""a", W/"b""#.parse().unwrap());
        assert!(has_it(&headers, r#""a""#));
        assert!(has_it(&headers, r#""b""#));
        assert!(!has_it(&headers, r#""c""#));
    }
}
