//! A page of search results (FHIR R4, "Bundle", type `searchset`), read with tolerance. Resources stay the bytes they came as.

use bulkhead_shared::domain::search::{Search, Seen};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use url::Url;

use super::outcome::OperationOutcome;

/// A page that cannot be used. Holds nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not JSON of the expected shape (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("it is JSON, but no Bundle of search results")]
    NotAPage,
    #[error("its link to the next page is no URL")]
    Next,
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// NDJSON: a line for each resource.
    pub lines: Vec<u8>,
    /// How many.
    pub count: i64,
    /// A resource of another type than the one searched for is among them.
    pub mixed: bool,
    pub next: Option<Url>,
    /// `Bundle.total`, if it is exact.
    pub total: Option<i64>,
    /// The names of the parameters in the link to itself.
    pub applied: Vec<String>,
    /// What is known of each resource that matches.
    pub matches: Vec<Match>,
}

/// A resource that matches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Match {
    pub id: Option<String>,
    /// The patients it names as its own; a Patient names itself.
    pub owners: Vec<String>,
    pub last_updated: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
    #[serde(default)]
    total: Value,
    #[serde(default)]
    link: Option<Vec<Option<Link>>>,
    #[serde(default, borrow)]
    entry: Option<Vec<Option<Entry<'a>>>>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    relation: Option<String>,
    #[serde(default)]
    url: Option<String>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(default, borrow)]
    resource: Option<&'a RawValue>,
    #[serde(default)]
    search: Option<Mode>,
}

#[derive(Deserialize)]
struct Mode {
    #[serde(default)]
    mode: Option<String>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
}

impl Page {
    /// Reads a page that came from this URL, and counts what it holds in `seen`.
    pub fn read(body: &[u8], from: &Url, search: &Search, seen: &mut Seen) -> Result<Self, Unreadable> {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let bundle: Bundle<'_> =
            serde_json::from_slice(body).map_err(|error| Unreadable::Json { line: error.line(), column: error.column() })?;
        if bundle.resource_type.as_deref() != Some("Bundle") {
            return Err(Unreadable::NotAPage);
        }
        let links: Vec<Link> = bundle.link.into_iter().flatten().flatten().collect();
        let link =
            |relation: &str| links.iter().find(|link| link.relation.as_deref() == Some(relation)).and_then(|link| link.url.as_deref());
        let next = match link("next").map(str::trim).filter(|url| !url.is_empty()) {
            Some(next) => Some(from.join(next).map_err(|_| Unreadable::Next)?),
            None => None,
        };
        let itself = link("self").and_then(|link| from.join(link.trim()).ok());
        let applied: Vec<(String, String)> = itself.map(|link| link.query_pairs().into_owned().collect()).unwrap_or_default();
        // Who is asked for an estimate says so in the link to itself; we do not ask, a server may choose to.
        let estimated = applied.iter().any(|(name, value)| name == "_total" && value == "estimate");
        seen.pages += 1;
        let mut page = Self {
            lines: Vec::with_capacity(body.len()),
            count: 0,
            mixed: false,
            next,
            total: number(&bundle.total).filter(|_| !estimated),
            // `patient:Patient`, `subject.identifier`
            applied: applied.into_iter().map(|(name, _)| name.split([':', '.']).next().unwrap_or_default().to_owned()).collect(),
            matches: Vec::new(),
        };
        for entry in bundle.entry.into_iter().flatten().flatten() {
            page.take(&entry, search, seen);
        }
        Ok(page)
    }

    fn take(&mut self, entry: &Entry<'_>, search: &Search, seen: &mut Seen) {
        let searched = search.resource_type.as_str();
        let mode = entry.search.as_ref().and_then(|search| search.mode.as_deref());
        let Some(resource) = entry.resource.map(RawValue::get).filter(|text| *text != "null") else {
            if mode == Some("match") {
                seen.empty_matches += 1;
            } else {
                seen.empty += 1;
            }
            return;
        };
        let kind = serde_json::from_str::<Kind>(resource).ok().and_then(|kind| kind.resource_type);
        if mode == Some("outcome") || (kind.as_deref() == Some("OperationOutcome") && searched != "OperationOutcome") {
            let mut outcome = OperationOutcome::read(resource.as_bytes()).unwrap_or_default();
            outcome.change_words(|words| search.redacted(words));
            for issue in outcome.issue {
                seen.said(severity(&issue.severity), issue.text());
            }
            return;
        }
        let other = kind.is_some_and(|kind| kind != searched);
        // A match of another type, or of none, is refused when it is loaded, and kept.
        let included = mode == Some("include") || (mode.is_none() && other);
        if included {
            seen.included += 1;
        } else {
            seen.matches += 1;
            self.matches.push(Match::read(resource));
        }
        self.mixed |= included && other;
        self.count += 1;
        // Within a string JSON has no line break; between two tokens it means nothing.
        self.lines.extend(resource.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        self.lines.push(b'\n');
    }
}

impl Match {
    fn read(resource: &str) -> Self {
        let Ok(resource) = serde_json::from_str::<Value>(resource) else { return Self::default() };
        let id = resource["id"].as_str().map(str::to_owned);
        let owners = if resource["resourceType"] == "Patient" {
            id.iter().cloned().collect()
        } else {
            let field = ["patient", "subject", "beneficiary"].into_iter().map(|name| &resource[name]).find(|value| !value.is_null());
            let one_or_more = field.into_iter().flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice));
            one_or_more.filter_map(|reference| patient(reference["reference"].as_str()?)).collect()
        };
        let time = resource["meta"]["lastUpdated"].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Self { id, owners, last_updated: time.map(|time| time.to_utc()) }
    }
}

/// The id in a reference to a Patient.
fn patient(reference: &str) -> Option<String> {
    let mut steps = reference.split('/').skip_while(|step| *step != "Patient").skip(1);
    steps.next().filter(|id| !id.is_empty()).map(str::to_owned)
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).filter(|total| *total >= 0)
}

/// The word, if FHIR knows it; else the worst.
fn severity(word: &str) -> &'static str {
    ["information", "warning", "error", "fatal"].into_iter().find(|known| *known == word).unwrap_or("error")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> (Page, Seen) {
        let mut seen = Seen::default();
        let page = Page::read(body.as_bytes(), &from(), &search("Observation"), &mut seen).unwrap();
        (page, seen)
    }

    fn search(kind: &str) -> Search {
        Search { resource_type: kind.to_owned(), patients: None, query: Vec::new() }
    }

    fn from() -> Url {
        Url::parse("https://fhir.example.org/base/Observation?patient=a").unwrap()
    }

    #[test]
    fn resources_keep_their_bytes_and_lose_only_line_breaks() {
        let odd = r#"{ "id":"1",  "resourceType":"Observation","v":1.50e0,"t":"a\nb\u00e9" }"#;
        let pretty = "{\r\n  \"resourceType\": \"Observation\",\n  \"id\": \"2\"\n}";
        let (page, seen) = read(&format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{odd}}},{{"resource":{pretty}}}]}}"#));
        let pretty = pretty.replace(['\r', '\n'], "");
        assert_eq!(String::from_utf8(page.lines).unwrap(), format!("{odd}\n{pretty}\n"));
        assert_eq!((page.count, seen.matches, seen.pages, page.mixed), (2, 2, 1, false));
        assert!(page.next.is_none());
    }

    #[test]
    fn what_is_no_match_is_told_apart() {
        let (page, seen) = read(
            r#"{"resourceType":"Bundle","total":3,"entry":[
                {"resource":{"resourceType":"Observation","id":"1"},"search":{"mode":"match"}},
                {"resource":{"resourceType":"Patient","id":"p"},"search":{"mode":"include"}},
                {"resource":{"resourceType":"Observation","id":"2"},"search":{"mode":"include"}},
                {"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"x","diagnostics":"slow"}]},"search":{"mode":"outcome"}},
                {"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"odd","code":"processing"}]}},
                {"fullUrl":"https://x/Observation/3","search":{"mode":"match"}}, {"resource":null}, null, {}]}"#,
        );
        assert_eq!((page.count, page.mixed), (3, true));
        let wrong = r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Basic","id":"1"},"search":{"mode":"match"}}]}"#;
        assert_eq!((read(wrong).0.mixed, read(wrong).1.matches), (false, 1), "its load refuses it");
        assert_eq!((page.total, seen.matches, seen.included, seen.empty_matches, seen.empty), (Some(3), 1, 2, 1, 2));
        let said: Vec<_> = seen.outcomes.iter().map(|said| (said.severity.as_str(), said.text.as_str())).collect();
        assert_eq!(said, [("warning", "slow"), ("error", "processing")]);
    }

    #[test]
    fn a_page_may_lack_nearly_everything() {
        for body in [
            r#"{"resourceType":"Bundle"}"#,
            r#"{"resourceType":"Bundle","entry":null,"link":null,"total":null}"#,
            r#"{"resourceType":"Bundle","entry":[],"link":[null,{},{"relation":"next"},{"relation":"next","url":" "}],"total":"x"}"#,
            "\u{FEFF}{\"resourceType\":\"Bundle\",\"total\":-1}",
        ] {
            let (page, _) = read(body);
            assert_eq!((page.count, page.next.is_none(), page.total), (0, true, None), "{body}");
        }
    }

    #[test]
    fn a_next_link_may_have_any_shape() {
        let next = |url: &str| {
            read(&format!(r#"{{"resourceType":"Bundle","link":[{{"relation":"self","url":"x"}},{{"relation":"next","url":"{url}"}}]}}"#))
                .0
                .next
                .unwrap()
        };
        assert_eq!(next("?page=2").as_str(), "https://fhir.example.org/base/Observation?page=2");
        assert_eq!(next("/other/cursor/9f").as_str(), "https://fhir.example.org/other/cursor/9f");
        assert_eq!(next("https://elsewhere.example.org/x").as_str(), "https://elsewhere.example.org/x");
    }

    #[test]
    fn an_estimate_does_not_count() {
        let (page, _) = read(r#"{"resourceType":"Bundle","total":9,"link":[{"relation":"self","url":"https://x/O?_total=estimate"}]}"#);
        assert_eq!(page.total, None);
    }

    #[test]
    fn whose_and_how_old_a_match_is_and_what_the_server_applied() {
        let (page, _) = read(
            r#"{"resourceType":"Bundle","link":[{"relation":"self","url":"Observation?patient:Patient=a&_lastUpdated=ge2024&_count=5"}],"entry":[
                {"resource":{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/a"},"meta":{"lastUpdated":"2024-05-01T12:00:00+02:00"}}},
                {"resource":{"resourceType":"Observation","id":"2","subject":{"reference":"https://h/r4/Patient/b/_history/1"}}},
                {"resource":{"resourceType":"Observation","subject":{"reference":"Group/g"}}},
                {"resource":{"resourceType":"Observation","subject":[{"reference":"Patient/a"},{"display":"Jane"},{"reference":"Patient/"}]}},
                {"resource":{"resourceType":"Observation","subject":7,"meta":"x","id":8}}]}"#,
        );
        assert_eq!(page.applied, ["patient", "_lastUpdated", "_count"]);
        let owners: Vec<_> = page.matches.iter().map(|found| found.owners.join(",")).collect();
        assert_eq!(owners, ["a", "b", "", "a", ""]);
        assert_eq!(page.matches[0].last_updated, "2024-05-01T10:00:00Z".parse().ok());
        assert_eq!(page.matches[4], Match::default());
        let mut seen = Seen::default();
        let patient = br#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"p"}}]}"#;
        assert_eq!(Page::read(patient, &from(), &search("Patient"), &mut seen).unwrap().matches[0].owners, ["p"]);
    }

    #[test]
    fn what_is_no_page_is_no_empty_page_and_errors_show_no_content() {
        for body in [
            "{}",
            r#"{"resourceType":"OperationOutcome"}"#,
            "[]",
            "<html>Jane</html>",
            r#"{"resourceType":"Bundle","entry":"Jane"}"#,
            r#"{"resourceType":"Bundle","entry":["#,
        ] {
            let error = Page::read(body.as_bytes(), &from(), &search("Observation"), &mut Seen::default()).unwrap_err().to_string();
            assert!(!error.contains("Jane"), "{error}");
        }
    }

    #[test]
    fn whatever_is_cut_or_changed_in_a_page_nothing_panics() {
        let body = r#"{"resourceType":"Bundle","total":2,"link":[{"relation":"next","url":"?p=2"}],"entry":[
            {"resource":{"resourceType":"Observation","id":"1","t":"\u00e9\ud83d\ude00"},"search":{"mode":"match"}},{"resource":{"resourceType":"OperationOutcome","issue":[{}]}}]}"#.as_bytes();
        let mut cases = 0;
        let mut try_it = |body: &[u8]| {
            if let Ok(page) = Page::read(body, &from(), &search("Observation"), &mut Seen::default()) {
                let lines = page.lines.split_inclusive(|byte| *byte == b'\n').count();
                assert_eq!(i64::try_from(lines).unwrap(), page.count, "a resource is a line");
            }
            cases += 1;
        };
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % below
        };
        for at in 0..body.len() {
            try_it(&body[..at]);
            for byte in [b'"', b'{', b'[', b'\\', b'0', b'\n', 0, 0xFF] {
                let mut changed = body.to_vec();
                changed[at] = byte;
                try_it(&changed);
            }
        }
        for _ in 0..20_000 {
            let mut changed = body.to_vec();
            for _ in 0..=next(4) {
                let (at, from) = (next(changed.len()), next(body.len()));
                match next(3) {
                    0 => changed[at] = u8::try_from(next(256)).unwrap(),
                    1 => drop(changed.splice(at..at, body[from..body.len().min(from + 20)].iter().copied())),
                    _ => drop(changed.drain(at..changed.len().min(at + 10))),
                }
                if changed.is_empty() {
                    changed.push(b'{');
                }
            }
            try_it(&changed);
        }
        assert!(cases > 22_000, "{cases}");
    }

    /// A resource, pretty-printed or not.
    fn resource() -> impl Strategy<Value = (Value, bool)> {
        let kinds = prop::sample::select(vec!["Observation", "Patient"]);
        (kinds, "[a-z0-9]{1,8}", ".{0,30}", any::<bool>())
            .prop_map(|(kind, id, text, pretty)| (serde_json::json!({"resourceType": kind, "id": id, "text": text}), pretty))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Page::read(&bytes, &from(), &search("Observation"), &mut Seen::default());
        }

        #[test]
        fn every_resource_is_one_line_and_the_same(resources in prop::collection::vec(resource(), 0..12), next in prop::option::of(".{0,20}")) {
            let entries: Vec<String> = resources.iter().map(|(resource, pretty)| {
                let text = if *pretty { serde_json::to_string_pretty(resource).unwrap() } else { resource.to_string() };
                format!(r#"{{"resource":{text}}}"#)
            }).collect();
            let link = next.map_or_else(|| "null".to_owned(), |url| serde_json::json!([{"relation": "next", "url": url}]).to_string());
            let body = format!(r#"{{"resourceType":"Bundle","link":{link},"entry":[{}]}}"#, entries.join(","));
            let mut seen = Seen::default();
            let Ok(page) = Page::read(body.as_bytes(), &from(), &search("Observation"), &mut seen) else { return Ok(()) };
            let lines: Vec<Value> = page.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice(line).unwrap()).collect();
            let expected: Vec<Value> = resources.into_iter().map(|(resource, _)| resource).collect();
            prop_assert_eq!(page.count, i64::try_from(lines.len()).unwrap());
            prop_assert_eq!(seen.matches + seen.included, page.count);
            prop_assert_eq!(lines, expected);
        }
    }
}
