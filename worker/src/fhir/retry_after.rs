//! `Retry-After`, both forms, clamped (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

use bulkhead_shared::clock;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Servers do say hours; nobody means more than a day.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Never busier than this, whatever the server says.
const SHORTEST: Duration = Duration::from_millis(500);

/// How long the server asks to wait. An HTTP-date counts from the answer's own `Date`: clocks differ.
pub fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST),
        Ok(_) => return None,
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            until.duration_since(server_time(headers)).unwrap_or_default()
        }
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}

/// The server's clock, or ours where it does not say.
pub fn server_time(headers: &HeaderMap) -> SystemTime {
    headers
        .get(DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or_else(|| clock::now().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn wait(value: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        of(&headers)
    }

    #[test]
    fn both_forms_are_read_and_clamped() {
        let date = Some("Mon, 23 Nov 2026 10:00:00 GMT");
        assert_eq!(wait("120", None), Some(Duration::from_secs(120)));
        assert_eq!(wait("Mon, 23 Nov 2026 10:02:00 GMT", date), Some(Duration::from_secs(120)));
        assert_eq!(wait("Mon, 23 Nov 2026 09:00:00 GMT", date), Some(SHORTEST));
        assert_eq!(wait("0", None), Some(SHORTEST));
        assert_eq!(wait("-1", None), Some(SHORTEST));
        assert_eq!(wait("315360000", None), Some(LONGEST));
        assert_eq!(wait("1e300", None), Some(LONGEST));
        assert_eq!(wait("NaN", None), None);
        assert_eq!(wait("soon", None), None);
    }
}
