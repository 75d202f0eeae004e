//! Made resources as some servers give them, changed as text so that all else stays the same bytes.

use crate::switches::Data;

const UUID: usize = 36;

/// One line of a made resource, with the quirks of `data`.
pub fn shape(line: Vec<u8>, data: Data) -> Vec<u8> {
    let mut line = line;
    if data.no_last_updated {
        line = without_last_updated(&line);
    }
    if data.long_ids {
        line = with_long_ids(&line);
    }
    line
}

fn without_last_updated(line: &[u8]) -> Vec<u8> {
    let name = br#""lastUpdated":""#;
    let Some(start) = find(line, name) else { return line.to_vec() };
    let Some(length) = line[start + name.len()..].iter().position(|byte| *byte == b'"') else { return line.to_vec() };
    let mut end = start + name.len() + length + 1;
    if line.get(end) == Some(&b',') {
        end += 1;
    }
    [&line[..start], &line[end..]].concat()
}

/// Every UUID twice, joined by a dot: 73 characters, where FHIR allows 64.
fn with_long_ids(line: &[u8]) -> Vec<u8> {
    let mut long = Vec::with_capacity(line.len() + 256);
    let mut at = 0;
    while at < line.len() {
        let word = line.get(at..at + UUID).filter(|word| word[8] == b'-' && word[23] == b'-');
        if let Some(word) = word.filter(|word| std::str::from_utf8(word).is_ok_and(|word| uuid::Uuid::try_parse(word).is_ok())) {
            long.extend_from_slice(word);
            long.push(b'.');
            long.extend_from_slice(word);
            at += UUID;
        } else {
            long.push(line[at]);
            at += 1;
        }
    }
    long
}

fn find(line: &[u8], what: &[u8]) -> Option<usize> {
    line.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengthens_ids_and_drops_the_time_and_leaves_all_else() {
        let line =
            br#"{"id":"6f3f1a8e-0000-4000-8000-000000000001","meta":{"lastUpdated":"2024-01-01T00:00:00Z","security":[]},"a":"2024"}"#;
        let shaped = shape(line.to_vec(), Data { long_ids: true, no_last_updated: true });
        let id = "6f3f1a8e-0000-4000-8000-000000000001";
        assert_eq!(String::from_utf8(shaped).unwrap(), format!(r#"{{"id":"{id}.{id}","meta":{{"security":[]}},"a":"2024"}}"#));
    }
}
