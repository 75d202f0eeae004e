//! Faults in what a file says. They work on any NDJSON, made or real, because they only touch bytes.

use bytes::Bytes;
use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::faults::Content;
use crate::world::Lines;

/// How many resources `duplicate-ids` and `duplicate-across-files` repeat.
pub const REPEATED: usize = 10;

/// Entries in each Bundle of a file of deletions.
pub const DELETED_A_BUNDLE: usize = 10;

/// Transaction Bundles that delete so many Conditions (Bulk Data Access IG, `deleted`). They never were in the data.
pub fn deletions(resources: usize) -> Vec<u8> {
    let entries: Vec<_> = (0..resources)
        .map(|nth| json!({"request": {"method": "DELETE", "url": format!("Condition/5ab1e000-0000-4000-8000-{nth:012}")}}))
        .collect();
    let bundles = entries.chunks(DELETED_A_BUNDLE).enumerate().map(|(nth, entries)| {
        let bundle = json!({"resourceType": "Bundle", "id": format!("deleted-{nth}"), "type": "transaction", "entry": entries});
        format!("{bundle}\n")
    });
    bundles.collect::<String>().into_bytes()
}

/// The file with the fault in it. Broken lines replace good ones, so that the manifest's count still holds.
pub fn spoil(lines: &Lines, fault: Content) -> Bytes {
    let spoiled = match fault {
        Content::MalformedLine => middle(lines, |line| line[..line.len() / 2].to_vec()),
        Content::NulEscape => middle(lines, |line| with_element(line, br"urn:sandbox:nul:\u0000")),
        Content::InvalidUtf8 => middle(lines, |line| with_element(line, b"urn:sandbox:\xff\xfe")),
        Content::WrongType => middle(lines, |line| of_type(line, "Basic")),
        Content::DuplicateIds => [&lines.bytes()[..], &repeated(lines)].concat(),
        Content::Bom => [&b"\xef\xbb\xbf"[..], &lines.bytes()].concat(),
        Content::BlankLines => lines.iter().flat_map(|line| [line, b"\n \r\n"].concat()).collect(),
        Content::NoFinalNewline => lines.bytes().trim_ascii_end().to_vec(),
    };
    spoiled.into()
}

/// The first resources again, each with a newer `meta.lastUpdated` and `language` set to `x-newer`.
pub fn repeated(lines: &Lines) -> Vec<u8> {
    let mut again = Vec::new();
    for line in lines.iter().take(REPEATED) {
        let Ok(mut resource) = serde_json::from_slice::<Value>(line) else { continue };
        let last: Option<DateTime<Utc>> = resource["meta"]["lastUpdated"].as_str().and_then(|at| at.parse().ok());
        let newer = last.unwrap_or(DateTime::UNIX_EPOCH) + Duration::days(1);
        resource["meta"]["lastUpdated"] = json!(newer.to_rfc3339_opts(SecondsFormat::Secs, true));
        resource["language"] = json!("x-newer");
        again.extend_from_slice(resource.to_string().as_bytes());
        again.push(b'\n');
    }
    again
}

/// Changes the line in the middle.
fn middle(lines: &Lines, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let middle = lines.len() / 2;
    let mut spoiled = Vec::with_capacity(lines.bytes().len() + 64);
    for (nth, line) in lines.iter().enumerate() {
        if nth == middle {
            spoiled.extend(change(line.trim_ascii_end()));
            spoiled.push(b'\n');
        } else {
            spoiled.extend_from_slice(line);
        }
    }
    spoiled
}

/// Adds a string element, as raw bytes, before the closing brace.
fn with_element(line: &[u8], value: &[u8]) -> Vec<u8> {
    let open = line.strip_suffix(b"}").unwrap_or(line);
    [open, br#","implicitRules":""#, value, br#""}"#].concat()
}

fn of_type(line: &[u8], kind: &str) -> Vec<u8> {
    let Ok(mut resource) = serde_json::from_slice::<Value>(line) else { return line.to_vec() };
    resource["resourceType"] = json!(kind);
    resource.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let line = |id| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"meta\":{{\"lastUpdated\":\"2024-01-01T00:00:00Z\"}}}}\n");
        Lines::parse((0..12).map(line).collect::<String>().into_bytes())
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let lines = lines();
        for (fault, bad_lines, all_lines) in [
            (Content::MalformedLine, 1, 12),
            (Content::InvalidUtf8, 1, 12),
            (Content::NulEscape, 0, 12),
            (Content::WrongType, 0, 12),
            (Content::DuplicateIds, 0, 22),
            (Content::NoFinalNewline, 0, 12),
            (Content::Bom, 1, 12),
            (Content::BlankLines, 24, 36),
        ] {
            let spoiled = spoil(&lines, fault);
            let all: Vec<_> = spoiled.split_inclusive(|byte| *byte == b'\n').collect();
            let bad = all.iter().filter(|line| serde_json::from_slice::<Value>(line).is_err()).count();
            assert_eq!((bad, all.len()), (bad_lines, all_lines), "{fault:?}");
            assert_eq!(spoiled.ends_with(b"\n"), fault != Content::NoFinalNewline, "{fault:?}");
        }
        let nul = spoil(&lines, Content::NulEscape);
        assert!(nul.windows(6).any(|six| six == br"\u0000"));
        let newer = String::from_utf8(repeated(&lines)).unwrap();
        assert_eq!(newer.matches("2024-01-02T00:00:00Z").count(), REPEATED);
    }
}
