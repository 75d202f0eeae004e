//! The session's cookie: opaque, for our own site only, and out of reach of scripts.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};

use super::is_https;

const NAME: &str = "bulkhead_session";
/// By https: a browser takes it from this very host only, never from a neighbour's (RFC 6265bis, 4.1.3.2).
const SECURE_NAME: &str = "__Host-bulkhead_session";

/// What the browser has.
pub fn read(headers: &HeaderMap) -> Option<&str> {
    let wanted = if is_https(headers) { SECURE_NAME } else { NAME };
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

/// `Set-Cookie` for a new session; `asked` are the headers of the request that began it.
pub fn set(asked: &HeaderMap, token: &SecretString, lifetime: Duration) -> Option<HeaderValue> {
    write(asked, token.expose_secret(), lifetime.as_secs())
}

/// `Set-Cookie` that takes it away.
pub fn clear(asked: &HeaderMap) -> Option<HeaderValue> {
    write(asked, "", 0)
}

fn write(asked: &HeaderMap, value: &str, seconds: u64) -> Option<HeaderValue> {
    let (name, secure) = if is_https(asked) { (SECURE_NAME, "; Secure") } else { (NAME, "") };
    let mut value = HeaderValue::try_from(format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_https_it_is_bound_to_the_host_and_sent_by_https_only() {
        let mut headers = HeaderMap::new();
        let plain = set(&headers, &"x".into(), Duration::from_secs(9)).unwrap();
        assert_eq!(plain, "bulkhead_session=x; Path=/; Max-Age=9; HttpOnly; SameSite=Lax");
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let secure = set(&headers, &"x".into(), Duration::from_secs(9)).unwrap();
        assert_eq!(secure, "__Host-bulkhead_session=x; Path=/; Max-Age=9; HttpOnly; SameSite=Lax; Secure");
        headers.insert(header::COOKIE, "a=b; bulkhead_session=planted; __Host-bulkhead_session=real".parse().unwrap());
        assert_eq!(read(&headers), Some("real"));
        headers.remove("x-forwarded-proto");
        assert_eq!(read(&headers), Some("planted"));
    }
}
