//! Files of deletions: each line is a transaction Bundle whose entries are DELETE requests (Bulk Data IG, "Complete Status", `deleted`).

use std::io::{self, Read};

use bulkhead_shared::db::{deletions::Deletion, rejected_lines::Rejected};
use serde::Deserialize;

use super::lines::Lines;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    resource_type: String,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    method: String,
    url: String,
}

/// What a part says.
#[derive(Debug, Default)]
pub struct Listed {
    pub deletions: Vec<Deletion>,
    /// Lines that are no such Bundle.
    pub rejected: Vec<Rejected>,
    pub sha256: Vec<u8>,
}

/// Reads a part. `first_line`, `byte_start`: where it stands in its file.
pub fn read(part: impl Read, first_line: i64, byte_start: i64) -> io::Result<Listed> {
    let mut listed = Listed::default();
    let mut lines = Lines::of(part);
    while let Some(line) = lines.next_line()? {
        match serde_json::from_slice::<Bundle>(line.text) {
            Ok(bundle) if bundle.resource_type == "Bundle" => {
                let requests = bundle.entry.into_iter().filter_map(|entry| entry.request);
                listed
                    .deletions
                    .extend(requests.filter(|request| request.method.eq_ignore_ascii_case("DELETE")).map(|request| deletion(request.url)));
            }
            _ => listed.rejected.push(Rejected {
                line: first_line + line.number + 1,
                reason: "not a Bundle of deletions".to_owned(),
                bytes: line.text.to_vec(),
                byte_start: byte_start + line.byte,
            }),
        }
    }
    listed.sha256 = lines.sha256();
    Ok(listed)
}

/// `[base/]Type/id`; a search such as `Patient?identifier=1` names no resource. Postgres keeps no NUL.
fn deletion(url: String) -> Deletion {
    let url = url.replace('\0', "");
    let named = (!url.contains('?')).then(|| {
        let mut segments = url.trim_end_matches('/').rsplit('/');
        let id = segments.next().filter(|id| !id.is_empty())?;
        let kind = segments.next().filter(|kind| bulkhead_shared::domain::resource::is_type_name(kind))?;
        Some((kind.to_owned(), id.to_owned()))
    });
    let (resource_type, resource_id) = named.flatten().unzip();
    Deletion { resource_type, resource_id, url }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn deletions_are_read_and_other_lines_kept() {
        let text = concat!(
            r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/1"}},"#,
            r#"{"request":{"method":"DELETE","url":"https://h/fhir/Condition/2"}},{"request":{"method":"PUT","url":"Patient/3"}},{}]}"#,
            "\n{\"resourceType\":\"Patient\"}\n",
            r#"{"resourceType":"Bundle","entry":[{"request":{"method":"DELETE","url":"Patient?identifier=x"}}]}"#
        );
        let listed = read(text.as_bytes(), 10, 100).unwrap();
        let named: Vec<_> = listed.deletions.iter().map(|d| (d.resource_type.as_deref(), d.resource_id.as_deref())).collect();
        assert_eq!(named, [(Some("Patient"), Some("1")), (Some("Condition"), Some("2")), (None, None)]);
        assert_eq!(listed.rejected.iter().map(|line| line.line).collect::<Vec<_>>(), [12]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn every_line_is_read_or_kept(lines in prop::collection::vec(prop_oneof![
            "[ -~]{0,60}",
            ".{0,40}".prop_map(|url| serde_json::json!({"resourceType": "Bundle", "entry": [{"request": {"method": "DELETE", "url": url}}]}).to_string()),
        ], 0..10)) {
            let text = lines.join("\n");
            let listed = read(text.as_bytes(), 0, 0).unwrap();
            let full = text.split('\n').filter(|line| !line.trim_ascii().is_empty()).count();
            prop_assert!(listed.deletions.len() + listed.rejected.len() <= full);
            prop_assert!(listed.deletions.iter().all(|deletion| !deletion.url.contains('\0')));
        }
    }
}
