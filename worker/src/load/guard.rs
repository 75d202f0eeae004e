//! The guard: each line is checked for what Postgres would refuse, without a full parse, and its columns are read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A longer line is kept as rejected: no FHIR resource is that large, and one such row would block a worker.
const LONGEST: usize = 16 << 20;

/// A line that may become a row.
#[derive(Debug)]
pub struct Row<'a> {
    /// In its file, from 1.
    pub line: i64,
    /// In its file.
    pub byte_start: i64,
    pub text: &'a [u8],
    pub fields: Fields<'a>,
}

/// The members that become columns. The rest of the resource is looked at by Postgres only.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields<'a> {
    #[serde(borrow)]
    pub resource_type: Cow<'a, str>,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub meta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub subject: Option<&'a RawValue>,
    #[serde(borrow)]
    pub patient: Option<&'a RawValue>,
    #[serde(borrow)]
    pub beneficiary: Option<&'a RawValue>,
    #[serde(borrow)]
    pub gender: Option<&'a RawValue>,
    #[serde(borrow)]
    pub birth_date: Option<&'a RawValue>,
    #[serde(borrow)]
    pub code: Option<&'a RawValue>,
    #[serde(borrow)]
    pub onset_date_time: Option<&'a RawValue>,
    #[serde(borrow)]
    pub value_quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    pub effective_date_time: Option<&'a RawValue>,
    #[serde(borrow)]
    pub effective_period: Option<&'a RawValue>,
    #[serde(borrow)]
    pub effective_instant: Option<&'a RawValue>,
    #[serde(borrow)]
    pub class: Option<&'a RawValue>,
    #[serde(borrow)]
    pub period: Option<&'a RawValue>,
    #[serde(borrow)]
    pub actual_period: Option<&'a RawValue>,
    #[serde(borrow)]
    pub medication_codeable_concept: Option<&'a RawValue>,
    #[serde(borrow)]
    pub authored_on: Option<&'a RawValue>,
}

/// Checks a line. The reason holds nothing of the line's content.
pub fn check<'a>(text: &'a [u8], expected_type: Option<&str>) -> Result<Fields<'a>, String> {
    if text.len() > LONGEST {
        return Err(format!("longer than {} MiB", LONGEST >> 20));
    }
    let Ok(valid) = simdutf8::basic::from_utf8(text) else {
        return Err("not valid UTF-8".to_owned());
    };
    if memchr::memmem::find(text, b"\\u").is_some() {
        check_escapes(text)?;
    }
    let fields: Fields = serde_json::from_str(valid).map_err(|error| malformed(&error))?;
    if fields.id.is_empty() {
        return Err("its id is empty".to_owned());
    }
    // The index on (etl_job_id, id) holds at most about 2,700 bytes.
    if fields.id.len() > 1024 {
        return Err("its id is longer than 1,024 bytes".to_owned());
    }
    match expected_type {
        Some(expected) if expected != fields.resource_type => Err(format!("another resource type than the manifest says ({expected})")),
        _ => Ok(fields),
    }
}

/// serde's message may quote the content; its kind and place do not.
fn malformed(error: &serde_json::Error) -> String {
    let place = format!("at column {}", error.column());
    match error.classify() {
        serde_json::error::Category::Eof => "not JSON: it ends in the middle".to_owned(),
        serde_json::error::Category::Syntax => format!("not JSON ({place})"),
        _ => {
            let text = error.to_string();
            let known = ["missing field `id`", "missing field `resourceType`", "duplicate field"];
            known
                .iter()
                .find(|k| text.starts_with(**k))
                .map_or_else(|| format!("not a FHIR resource ({place})"), |k| format!("not a FHIR resource: {k}"))
        }
    }
}

/// JSON allows, and jsonb refuses, NUL and lone surrogates in strings (SQLSTATE 22P05, 22P02).
fn check_escapes(text: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        at += found + 1;
        if text.get(at) != Some(&b'u') {
            at += 1;
            continue;
        }
        let unit = hex(text, at + 1);
        at += 5;
        match unit {
            Some(0) => return Err("a string holds the NUL character (\\u0000), which Postgres cannot store".to_owned()),
            Some(0xD800..=0xDBFF) => {
                let low = if text.get(at) == Some(&b'\\') && text.get(at + 1) == Some(&b'u') { hex(text, at + 2) } else { None };
                if !matches!(low, Some(0xDC00..=0xDFFF)) {
                    return Err("a string holds half of a surrogate pair".to_owned());
                }
                at += 6;
            }
            Some(0xDC00..=0xDFFF) => return Err("a string holds half of a surrogate pair".to_owned()),
            _ => {}
        }
        if at >= text.len() {
            break;
        }
    }
    Ok(())
}

fn hex(text: &[u8], at: usize) -> Option<u16> {
    let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(line: &[u8]) -> Option<String> {
        check(line, Some("Patient")).err()
    }

    #[test]
    fn good_lines_pass() {
        for line in [
            r#"{"resourceType":"Patient","id":"a"}"#,
            r#"{"resourceType":"Patient","id":"a","name":[{"text":"\u00e9 \ud83d\ude00 \\u0000"}],"x":1e400}"#,
            r#"{"id":"\u0061","resourceType":"Patient"}"#,
        ] {
            assert_eq!(reason(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn bad_lines_are_told_apart_without_their_content() {
        for (line, expected) in [
            (&br#"{"resourceType":"Patient","id":"a""#[..], "ends in the middle"),
            (br#"{"resourceType":"Patient","id":"Jane",}"#, "not JSON"),
            (br#"{"resourceType":"Patient"}"#, "missing field `id`"),
            (br#"{"resourceType":"Patient","id":"","x":1}"#, "empty"),
            (br#"{"resourceType":"Patient","id":7}"#, "not a FHIR resource"),
            (br#"["Jane"]"#, "not a FHIR resource"),
            (br#"{"resourceType":"Patient","id":"a","id":"b"}"#, "duplicate field"),
            (br#"{"resourceType":"Patient","id":"a","x":"\u0000"}"#, "NUL"),
            (br#"{"resourceType":"Patient","id":"a","x":"\\\u0000"}"#, "NUL"),
            (br#"{"resourceType":"Patient","id":"a","x":"\ud83d"}"#, "surrogate"),
            (br#"{"resourceType":"Patient","id":"a","x":"\ude00"}"#, "surrogate"),
            (br#"{"resourceType":"Observation","id":"Jane"}"#, "another resource type"),
            (b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"x\":\"\xFF\"}", "UTF-8"),
        ] {
            let reason = reason(line).unwrap_or_default();
            assert!(reason.contains(expected), "{reason:?} should say {expected:?}");
            assert!(!reason.contains("Jane"), "{reason:?} shows content");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_passes_is_json_with_an_id_and_what_does_not_is_told_in_one_line(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                ".{0,60}".prop_map(|text| format!(r#"{{"resourceType":"Patient","id":"a","x":"{text}"}}"#).into_bytes()),
                r#"[\\"u0-9a-fdD{}:,\[\] ]{0,40}"#.prop_map(|text| format!(r#"{{"resourceType":"Patient","id":"a","x":"{text}"}}"#).into_bytes()),
            ],
        ) {
            match check(&bytes, Some("Patient")) {
                Ok(fields) => {
                    prop_assert!(!fields.id.is_empty());
                    prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
                }
                Err(reason) => prop_assert!(reason.len() < 100 && !reason.contains('\n'), "{reason:?}"),
            }
        }
    }
}
