//! A resource as text, with references that lead to what they name, where the export has it.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_shared::db::resources;
use sqlx::PgPool;
use url::form_urlencoded::byte_serialize;
use uuid::Uuid;

/// A resource's text in pieces.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// An element's name.
    Key(String),
    /// A reference to what is in the export, and where that is shown.
    Link(String, String),
    /// A reference to what is not.
    Missing(String),
}

const MARK: &str = "\"reference\": \"";

/// Cuts a pretty-printed resource at its references.
pub async fn pieces(pool: &PgPool, export: Uuid, base_url: &str, text: &str) -> sqlx::Result<Vec<Piece>> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (resource_type, id) in cut(text).filter_map(|(_, reference)| target(reference, base_url)) {
        wanted.entry(resource_type.to_owned()).or_default().insert(id.to_owned());
    }
    let mut known = BTreeSet::new();
    for (resource_type, ids) in wanted {
        let ids: Vec<String> = ids.into_iter().collect();
        for id in resources::known(pool, export, &resource_type, &ids).await? {
            known.insert((resource_type.clone(), id));
        }
    }
    let mut pieces = Vec::new();
    let mut done = 0;
    for (at, reference) in cut(text) {
        pieces.push(Piece::Text(text[done..at].to_owned()));
        done = at + reference.len();
        pieces.push(match target(reference, base_url) {
            Some((resource_type, id)) if known.contains(&(resource_type.to_owned(), id.to_owned())) => {
                Piece::Link(reference.to_owned(), address(&export.to_string(), resource_type, id))
            }
            _ => Piece::Missing(reference.to_owned()),
        });
    }
    pieces.push(Piece::Text(text[done..].to_owned()));
    Ok(pieces)
}

/// With the elements' names set apart: in a pretty-printed text each begins a line.
pub fn with_keys(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all = Vec::new();
    for piece in pieces {
        let Piece::Text(text) = piece else {
            all.push(piece);
            continue;
        };
        let mut told = 0;
        for (start, line) in text.split_inclusive('\n').scan(0, |at, line| Some((std::mem::replace(at, *at + line.len()), line))) {
            let indent = line.len() - line.trim_start().len();
            if let Some(length) = line[indent..].strip_prefix('"').and_then(|rest| rest.find("\":")).filter(|length| *length > 0) {
                let (from, to) = (start + indent, start + indent + length + 2);
                if !text[from + 1..to - 1].contains(['"', '\\', ' ']) {
                    all.push(Piece::Text(text[told..from].to_owned()));
                    all.push(Piece::Key(text[from..to].to_owned()));
                    told = to;
                }
            }
        }
        all.push(Piece::Text(text[told..].to_owned()));
    }
    all
}

/// Where a resource is shown.
pub fn address(job: &str, resource_type: &str, id: &str) -> String {
    let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    format!("/data/{job}/resources/{}/{}", part(resource_type), part(id))
}

/// Each reference with its place. What a text of the resource quotes has its quotes escaped, and is none.
fn cut(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices(MARK).filter_map(|(at, mark)| {
        let start = at + mark.len();
        let end = text[start..].find('"')?;
        Some((start, &text[start..start + end]))
    })
}

/// Type and id of a reference: relative, absolute on the export's own server, or of a version (FHIR R4, "References").
fn target<'r>(reference: &'r str, base_url: &str) -> Option<(&'r str, &'r str)> {
    let relative =
        if reference.contains(':') { reference.strip_prefix(base_url.trim_end_matches('/'))?.strip_prefix('/')? } else { reference };
    let mut segments: Vec<&str> = relative.split('/').collect();
    if let Some(history) = segments.iter().position(|segment| *segment == "_history") {
        segments.truncate(history);
    }
    let id = segments.pop().filter(|id| !id.is_empty() && !id.contains('\\'))?;
    let resource_type = segments
        .pop()
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric()))?;
    Some((resource_type, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://fhir.example.org/r4";

    #[test]
    fn references_in_every_form_have_their_target() {
        for reference in ["Patient/7", "https://fhir.example.org/r4/Patient/7", "Patient/7/_history/2"] {
            assert_eq!(target(reference, BASE), Some(("Patient", "7")), "{reference}");
        }
        let elsewhere = "https://other.example.org/r4/Patient/7";
        for reference in
            ["#contained", "urn:uuid:0b0c", "patient/7", "Patient/", "7", elsewhere, "https://fhir.example.org/r4evil/Patient/7"]
        {
            assert_eq!(target(reference, BASE), None, "{reference}");
        }
        assert_eq!(address("j", "Patient", "a b/&"), "/data/j/resources/Patient/a%20b%2F%26");
    }

    #[test]
    fn names_of_elements_are_set_apart_and_nothing_is_lost() {
        let text = "{\n    \"id\": \"7\",\n    \"given\": [\n        \"An: \\\"x\\\": y\",\n        \"B\"\n    ]\n}";
        let pieces = with_keys(vec![
            Piece::Text(text.to_owned()),
            Piece::Link("Patient/7".to_owned(), String::new()),
            Piece::Text("\",\n".to_owned()),
        ]);
        let keys: Vec<&str> =
            pieces.iter().filter_map(|piece| if let Piece::Key(key) = piece { Some(key.as_str()) } else { None }).collect();
        assert_eq!(keys, ["\"id\"", "\"given\""]);
        let all: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) | Piece::Key(text) | Piece::Link(text, _) | Piece::Missing(text) => text.as_str(),
            })
            .collect();
        assert_eq!(all, format!("{text}Patient/7\",\n"));
    }

    #[test]
    fn what_a_text_only_quotes_is_no_reference() {
        let text = r#"{ "subject": { "reference": "Patient/7" }, "note": "\"reference\": \"Patient/8\"" }"#;
        assert_eq!(cut(text).map(|(_, reference)| reference).collect::<Vec<_>>(), ["Patient/7"]);
    }
}
