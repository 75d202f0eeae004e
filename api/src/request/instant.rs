//! `since` and `_until`: FHIR instants, or dates as the guide's users write them; passed on as written.

use chrono::{DateTime, NaiveDate};

use crate::problem::Problem;

/// Checks and trims it.
pub fn check(field: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if is_date(text) || is_instant(text) {
        return Ok(text.to_owned());
    }
    Err(Problem::invalid(format!(
        "{field} is not a FHIR instant; write for example 2023-01-01T00:00:00Z (with its time zone) or 2023-01-01."
    )))
}

/// FHIR `instant`: RFC 3339 with `T` and a zone.
fn is_instant(text: &str) -> bool {
    text.as_bytes().get(10) == Some(&b'T') && DateTime::parse_from_rfc3339(text).is_ok()
}

/// FHIR `date`: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = text.split('-');
    let year = parts.next().is_some_and(|year| digits(year, 4) && year != "0000");
    let rest: Vec<&str> = parts.collect();
    year && rest.len() <= 2
        && rest.iter().all(|part| digits(part, 2))
        && NaiveDate::parse_from_str(&format!("{text}{}", &"-01-01"[rest.len() * 3..]), "%Y-%m-%d").is_ok()
}
