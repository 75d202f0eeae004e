//! A part that grows by pages.

use std::time::Duration;

use bulkhead_shared::{
    blob::BlobWriter,
    db::file_parts::NewPart,
    domain::file::{FilePart, PartState},
    queue::StageError,
};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::super::download::not_kept;
use crate::{blob_key, fhir::bundle::Page, load::cutter::Cut, work::Work};

/// Whatever comes first ends a part. A killed search asks for no more pages again than these.
const BYTES: i64 = 8 << 20;
const PAGES: i64 = 50;
const TIME: Duration = Duration::from_secs(30);

/// The part at hand.
pub struct Growing {
    cut: Cut,
    /// How often this claim began anew: a blob's key has one content only.
    beginnings: u32,
    bytes: i64,
    lines: i64,
    pages: i64,
    began: Instant,
    digest: Sha256,
    blob: Option<BlobWriter>,
    pub mixed: bool,
}

/// A part that is whole, and in the blob store.
pub struct Whole {
    pub part: NewPart,
    pub blob: BlobWriter,
}

impl Growing {
    pub fn at(cut: Cut, beginnings: u32) -> Self {
        Self { cut, beginnings, bytes: 0, lines: 0, pages: 0, began: Instant::now(), digest: Sha256::new(), blob: None, mixed: false }
    }

    pub fn cut(&self) -> Cut {
        self.cut
    }

    fn key(&self, work: &Work) -> Result<String, StageError> {
        let compression = work.blobs().compression();
        let part = format!("{}-{}", self.beginnings, self.cut.n);
        Ok(blob_key::of_part(work.export.id, work.file()?.id, work.claim().claim_id, part, compression))
    }

    pub fn has_pages(&self) -> bool {
        self.pages > 0
    }

    /// Takes a page in.
    pub async fn add(&mut self, work: &Work, page: Page) -> Result<(), StageError> {
        self.pages += 1;
        self.mixed |= page.mixed;
        if page.lines.is_empty() {
            return Ok(());
        }
        self.lines += page.count;
        self.bytes += i64::try_from(page.lines.len()).unwrap_or(i64::MAX);
        self.digest.update(&page.lines);
        let key = self.key(work)?;
        self.blob.get_or_insert_with(|| work.blobs().create(&key)).write(page.lines.into()).await.map_err(not_kept)
    }

    /// Whether it ends with this page; where the part of this number ended before, if it can.
    pub fn is_full(&self, known: Option<&FilePart>) -> bool {
        match known {
            Some(known) if self.bytes > 0 => self.bytes >= known.byte_len,
            _ => self.bytes >= BYTES || self.pages >= PAGES || self.began.elapsed() >= TIME,
        }
    }

    /// Ends it, and begins the next one. `None`: no page held anything.
    pub fn end(&mut self, work: &Work) -> Result<Option<Whole>, StageError> {
        let key = self.key(work)?;
        let Some(blob) = self.blob.take() else {
            *self = Self::at(self.cut, self.beginnings);
            return Ok(None);
        };
        let cut = self.cut;
        let next = Cut {
            n: cut.n + 1,
            byte_start: cut.byte_start + self.bytes,
            first_line: cut.first_line + self.lines,
            lines: cut.lines + self.lines,
        };
        let ended = std::mem::replace(self, Self::at(next, self.beginnings));
        let part = NewPart {
            n: cut.n,
            blob_key: key,
            byte_start: cut.byte_start,
            byte_len: ended.bytes,
            first_line: cut.first_line,
            physical_lines: ended.lines,
            lines: ended.lines,
            sha256: ended.digest.finalize().to_vec(),
        };
        Ok(Some(Whole { part, blob }))
    }

    /// What was taken in does not count: at the first part again.
    pub async fn begin_anew(&mut self) -> Result<(), StageError> {
        let began = std::mem::replace(self, Self::at(Cut::default(), self.beginnings + 1));
        match began.blob {
            Some(blob) => blob.abort().await.map_err(not_kept),
            None => Ok(()),
        }
    }
}

/// Whether this very part is stored.
pub fn is_stored(part: &NewPart, known: Option<&FilePart>) -> bool {
    known.is_some_and(|known| {
        let same_place = known.byte_start == part.byte_start && known.first_line == part.first_line;
        same_place && known.sha256 == part.sha256 && known.state != PartState::Lost
    })
}
