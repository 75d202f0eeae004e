//! NDJSON in memory: one buffer and where its lines end, so that a file is a slice and never a copy.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

/// Lines of one resource type, each with its final newline.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    bytes: Bytes,
    /// The offset just after each line.
    ends: Vec<usize>,
}

impl Lines {
    /// Takes NDJSON as it is; only a missing last newline is added, and blank lines are dropped.
    pub fn parse(mut raw: Vec<u8>) -> Self {
        if raw.last().is_some_and(|last| *last != b'\n') {
            raw.push(b'\n');
        }
        let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
        if raw.split_inclusive(|byte| *byte == b'\n').any(is_blank) {
            raw = raw.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_blank(line)).flatten().copied().collect();
        }
        let ends = raw.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { bytes: raw.into(), ends }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// One line, with its final newline. No copy.
    pub fn line(&self, at: usize) -> Option<Bytes> {
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(self.bytes.slice(start..end))
    }

    /// The same bytes in pieces of at most `size` lines. No copy.
    pub fn chunks(&self, size: usize) -> Vec<Self> {
        let mut start = 0;
        self.ends
            .chunks(size.max(1))
            .map(|ends| {
                let end = *ends.last().expect("chunks are never empty");
                let chunk = Self { bytes: self.bytes.slice(start..end), ends: ends.iter().map(|end| end - start).collect() };
                start = end;
                chunk
            })
            .collect()
    }
}

pub fn last_updated(line: &[u8]) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Resource {
        meta: Option<Meta>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        last_updated: Option<DateTime<Utc>>,
    }
    let resource: Resource = serde_json::from_slice(line).ok()?;
    resource.meta?.last_updated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_share_the_bytes_and_keep_the_order() {
        let lines = Lines::parse(b"{\"a\":1}\n\n{\"a\":2}\n{\"a\":3}".to_vec());
        assert_eq!(lines.len(), 3);
        let chunks = lines.chunks(2);
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[1].bytes(), "{\"a\":3}\n");
        assert_eq!(chunks[0].iter().nth(1), Some(&b"{\"a\":2}\n"[..]));
    }
}
