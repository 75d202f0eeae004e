//! `Retry-After`, both forms, clamped (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

use bulkhead_shared::clock;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Servers do say hours; nobody means more than a day.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Never busier than this, whatever the server says.
const SHORTEST: Duration = Duration::from_millis(500);

/// September 2001 in seconds since 1970; as a duration it would be 31 years.
const MOMENT: f64 = 1e9;
/// The same in milliseconds.
const MILLISECONDS: f64 = 1e12;

/// How long the server asks to wait. An HTTP-date counts from the answer's own `Date`: clocks differ.
pub fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Duration::try_from_secs_f64(seconds(number, server_time(headers)).max(0.0)).unwrap_or(LONGEST),
        Ok(_) => return None,
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            until.duration_since(server_time(headers)).unwrap_or_default()
        }
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}

/// A number that can only be a moment is one: seconds, or milliseconds, since 1970.
fn seconds(number: f64, now: SystemTime) -> f64 {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    match number {
        MILLISECONDS.. => number / 1000.0 - since_1970,
        MOMENT..MILLISECONDS => number - since_1970,
        _ => number,
    }
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
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

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
        assert_eq!(wait("1795428120", date), Some(Duration::from_secs(120)), "a moment in seconds");
        assert_eq!(wait("1795428120000", date), Some(Duration::from_secs(120)), "a moment in milliseconds");
        assert_eq!(wait("1795424400", date), Some(SHORTEST), "a moment that is over");
        assert_eq!(wait("NaN", None), None);
        assert_eq!(wait("soon", None), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn whatever_a_server_says_we_wait_between_half_a_second_and_a_day(
            value in prop_oneof![
                "[ -~]{0,30}", any::<f64>().prop_map(|n| n.to_string()), any::<i64>().prop_map(|n| n.to_string()),
                "(Mon|Tue), [0-9]{2} (Jan|Nov) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
            ],
            date in prop::option::of("[ -~]{0,30}"),
        ) {
            if let Some(wait) = wait(&value, date.as_deref()) {
                prop_assert!((SHORTEST..=LONGEST).contains(&wait), "{value:?} is {wait:?}");
            }
        }
    }
}
