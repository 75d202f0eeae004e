//! Rows of one table, encoded for COPY, in the order of their ids: sorted keys make the primary key cheap.

use bulkhead_shared::db::rejected_lines::Rejected;

use super::{
    buffers::Buffers,
    guard::Row,
    table::{Encoder, Table},
};

/// Chunks that are prepared together are at most this large, unless one row is larger.
pub const BYTES: usize = 4 << 20;
pub const ROWS: usize = 10_000;

/// What is sorted and copied at once.
#[derive(Debug)]
pub struct Chunk {
    pub table: Table,
    encoded: Vec<u8>,
    rows: Vec<Entry>,
    buffers: Buffers,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.buffers.give_back(std::mem::take(&mut self.encoded));
    }
}

/// Where a row stands in the chunk.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The first bytes of its id: two ids seldom need a longer look.
    prefix: u128,
    start: u32,
    end: u32,
    id: u32,
    id_end: u32,
    /// The resource's text, the last field, begins here.
    text: u32,
    line: i64,
    byte_start: i64,
}

impl Chunk {
    pub fn of(table: Table, buffers: &Buffers) -> Self {
        Self { table, encoded: buffers.take(), rows: Vec::new(), buffers: buffers.clone() }
    }

    /// Adds a row; returns its length.
    pub fn push(&mut self, encoder: &Encoder, row: &Row<'_>) -> usize {
        let start = self.encoded.len();
        let place = encoder.encode(self.table, row, &mut self.encoded);
        let id = row.fields.id.as_bytes();
        let mut prefix = [0; 16];
        let known = id.len().min(16);
        prefix[..known].copy_from_slice(&id[..known]);
        let short = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.rows.push(Entry {
            prefix: u128::from_be_bytes(prefix),
            start: short(start),
            end: short(self.encoded.len()),
            id: short(place.id),
            id_end: short(place.id + id.len()),
            text: short(place.text),
            line: row.line,
            byte_start: row.byte_start,
        });
        self.encoded.len() - start
    }

    /// Brings the rows into the order of the primary key (`COLLATE "C"`: bytes).
    pub fn sort(&mut self) {
        let encoded = &self.encoded;
        let id = |entry: &Entry| &encoded[entry.id as usize..entry.id_end as usize];
        self.rows.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| id(a).cmp(id(b))));
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The encoded row at a place of the order.
    pub fn row(&self, n: usize) -> &[u8] {
        let entry = &self.rows[n];
        &self.encoded[entry.start as usize..entry.end as usize]
    }

    /// The line behind a row that Postgres refused.
    pub fn rejected(&self, n: usize, reason: String) -> Rejected {
        let entry = &self.rows[n];
        let bytes = self.encoded[entry.text as usize..entry.end as usize].to_vec();
        Rejected { line: entry.line, reason, bytes, byte_start: entry.byte_start }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{super::guard, *};

    #[test]
    fn rows_come_in_the_order_of_their_ids_and_keep_their_lines() {
        let encoder = Encoder::new(Uuid::nil(), 7, false);
        let mut chunk = Chunk::of(Table::of("Basic"), &Buffers::default());
        let ids = ["b", "a", "a-longer-id-than-sixteen-bytes-2", "a-longer-id-than-sixteen-bytes-1", "B"];
        for (line, id) in (1..).zip(ids) {
            let text = format!(r#"{{"resourceType":"Basic","id":"{id}"}}"#);
            let fields = guard::check(text.as_bytes(), None).unwrap();
            chunk.push(&encoder, &Row { line, byte_start: line * 100, text: text.as_bytes(), fields });
        }
        chunk.sort();
        let sorted: Vec<_> = (0..chunk.len()).map(|n| chunk.rejected(n, String::new())).map(|r| (r.line, r.byte_start)).collect();
        assert_eq!(sorted, [(5, 500), (2, 200), (4, 400), (3, 300), (1, 100)]);
        assert!(chunk.rejected(0, String::new()).bytes.starts_with(b"{\"resourceType\""));
        assert!(chunk.row(0).ends_with(b"\"B\"}"));
    }
}
