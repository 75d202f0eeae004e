//! Lines that are good and are no rows: what the server was asked to leave out and did not, and the headers of organized files.

use bulkhead_shared::domain::export::Export;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{guard::Fields, table::parse_instant};

/// What to hold back.
#[derive(Debug, Clone, Default)]
pub struct Sieve {
    /// Only these types; empty = all.
    pub types: Vec<String>,
    /// Nothing that was last updated before. What does not say when it was is kept.
    pub since: Option<DateTime<Utc>>,
    /// `Parameters` resources are headers (Bulk Data IG, "organizeOutputBy").
    pub organized: bool,
}

impl Sieve {
    /// The parameters that the server does not support are looked at here, where that can be.
    pub fn of(export: &Export) -> Self {
        let since = export.ask.since.as_deref().filter(|_| export.was_dropped("_since"));
        Self {
            types: if export.was_dropped("_type") { export.ask.resource_types.clone() } else { Vec::new() },
            since: since.and_then(parse_instant),
            organized: export.ask.parameters.contains_key("organizeOutputBy"),
        }
    }
}

/// What was held back, and what was seen on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sieved {
    pub headers: i64,
    pub left_out: i64,
    /// Resources that say themselves that parts of them are left out.
    pub subsetted: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    last_updated: Option<String>,
}

/// Headers have no id: they are told apart before the guard asks for one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    #[serde(borrow)]
    resource_type: std::borrow::Cow<'a, str>,
}

impl Sieved {
    /// Whether a line is the header of a block.
    pub fn is_header(&mut self, sieve: &Sieve, line: &[u8]) -> bool {
        let is = sieve.organized && serde_json::from_slice::<Header<'_>>(line).is_ok_and(|header| header.resource_type == "Parameters");
        self.headers += i64::from(is);
        is
    }

    /// Whether a resource is no row.
    pub fn holds_back(&mut self, sieve: &Sieve, fields: &Fields<'_>) -> bool {
        let other_type = !sieve.types.is_empty() && !sieve.types.iter().any(|kind| *kind == fields.resource_type);
        if other_type || sieve.since.is_some_and(|since| is_older(fields, since)) {
            self.left_out += 1;
            return true;
        }
        if fields.meta.is_some_and(|meta| memchr::memmem::find(meta.get().as_bytes(), b"\"SUBSETTED\"").is_some()) {
            self.subsetted += 1;
        }
        false
    }
}

fn is_older(fields: &Fields<'_>, since: DateTime<Utc>) -> bool {
    let meta = fields.meta.and_then(|meta| serde_json::from_str::<Meta>(meta.get()).ok());
    meta.and_then(|meta| parse_instant(&meta.last_updated?)).is_some_and(|updated| updated < since)
}

#[cfg(test)]
mod tests {
    use super::{super::guard, *};

    fn held_back(sieve: &Sieve, line: &str) -> (bool, Sieved) {
        let mut sieved = Sieved::default();
        let fields = guard::check(line.as_bytes(), None).unwrap();
        (sieved.holds_back(sieve, &fields), sieved)
    }

    #[test]
    fn what_was_not_asked_for_is_held_back_and_counted() {
        let sieve = Sieve { types: vec!["Patient".to_owned()], since: parse_instant("2023-01-01"), organized: true };
        for (line, back) in [
            (r#"{"resourceType":"Patient","id":"a"}"#, false),
            (r#"{"resourceType":"Patient","id":"a","meta":{"lastUpdated":"2022-12-31T23:59:59Z"}}"#, true),
            (r#"{"resourceType":"Patient","id":"a","meta":{"lastUpdated":"2023-01-01T00:00:00Z"}}"#, false),
            (r#"{"resourceType":"Patient","id":"a","meta":{"lastUpdated":"soon"}}"#, false),
            (r#"{"resourceType":"Condition","id":"a"}"#, true),
        ] {
            assert_eq!(held_back(&sieve, line).0, back, "{line}");
        }
    }

    #[test]
    fn headers_are_known_without_an_id_and_only_in_organized_files() {
        let header = br#"{"resourceType":"Parameters","parameter":[{"name":"header"}]}"#;
        let organized = Sieve { organized: true, ..Sieve::default() };
        let mut sieved = Sieved::default();
        assert!(sieved.is_header(&organized, header) && !sieved.is_header(&Sieve::default(), header));
        assert!(!sieved.is_header(&organized, br#"{"resourceType":"Patient"}"#) && !sieved.is_header(&organized, b"Parameters"));
        assert_eq!(sieved.headers, 1);
    }

    #[test]
    fn resources_that_are_not_whole_are_counted() {
        let line = r#"{"resourceType":"Patient","id":"a","meta":{"tag":[{"code":"SUBSETTED"}]}}"#;
        assert_eq!(held_back(&Sieve::default(), line), (false, Sieved { subsetted: 1, ..Sieved::default() }));
    }
}
