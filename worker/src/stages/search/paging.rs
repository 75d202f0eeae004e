//! One search being read: begun or gone on with, page after page, each part made durable with the link to the page after it.

use std::collections::{HashMap, HashSet};

use bulkhead_shared::{
    blob::BlobError,
    domain::{
        failure::Reason,
        file::{ExportFile, FilePart, PartState},
        search::{Cursor, Search},
    },
    queue::{StageError, Trouble},
};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    super::download::{Downloaded, Kept, not_kept},
    BegunAnew, Stored,
    doubts::Doubts,
    downloaded,
    part::{Growing, is_stored},
};
use crate::{fhir::bundle::Page, load::cutter::Cut, work::Work};

/// One search being read.
pub struct Paging<'w> {
    pub(super) work: &'w Work,
    pub file: ExportFile,
    pub search: Search,
    pub cursor: Cursor,
    known: HashMap<i32, FilePart>,
    part: Growing,
    /// Digests of the URLs that were asked for.
    pub(super) asked: HashSet<[u8; 32]>,
    pub(super) doubts: Doubts,
    pub(super) post: Post,
}

/// Whether the first page is asked for by POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Post {
    WhenLong,
    Always,
    /// The server does not know it.
    Never,
}

impl<'w> Paging<'w> {
    pub async fn of(work: &'w Work) -> Result<Self, StageError> {
        let file = work.file_now().await?;
        let (search, cursor) = work.search_now().await?;
        let mut paging = Self {
            work,
            file,
            search,
            cursor,
            known: HashMap::new(),
            part: Growing::at(Cut::default(), 0),
            asked: HashSet::new(),
            doubts: Doubts::default(),
            post: Post::WhenLong,
        };
        paging.know(work.parts().await?);
        match paging.end_of_stored() {
            Some(cut) if paging.remember().await? => paging.part = Growing::at(cut, 0),
            // A part is gone: then all are read again, and compared.
            _ => paging.begin_anew().await?,
        }
        Ok(paging)
    }

    /// What is stored is known again: a page that shifted shows by what comes twice. `false`: a part is gone, or cannot be read.
    async fn remember(&mut self) -> Result<bool, StageError> {
        if self.cursor.at_end {
            return Ok(true);
        }
        for n in 0..self.cursor.part {
            let Some(part) = self.known.get(&n) else { return Ok(false) };
            let blob = match self.work.blobs().open(&part.blob_key).await {
                Ok(blob) => blob,
                Err(BlobError::Missing) => return Ok(false),
                Err(error) => return Err(not_kept(error)),
            };
            let doubts = std::mem::take(&mut self.doubts);
            let read = tokio::task::spawn_blocking(move || doubts.remember(blob)).await;
            let Ok(Ok(doubts)) = read else { return Ok(false) };
            self.doubts = doubts;
        }
        Ok(true)
    }

    fn know(&mut self, parts: Vec<FilePart>) {
        self.known = parts.into_iter().map(|part| (part.n, part)).collect();
    }

    /// Where the parts before the cursor end, if all of them are there.
    fn end_of_stored(&self) -> Option<Cut> {
        let mut end = Cut::default();
        for n in 0..self.cursor.part {
            let part = self.known.get(&n).filter(|part| part.state != PartState::Lost)?;
            end = Cut {
                n: n + 1,
                byte_start: part.byte_start + part.byte_len,
                first_line: part.first_line + part.physical_lines,
                lines: end.lines + part.lines,
            };
        }
        Some(end)
    }

    /// From its first page, whatever was read.
    pub async fn begin_anew(&mut self) -> Result<(), StageError> {
        self.begin(self.cursor.forgotten, None).await
    }

    pub(super) async fn begin(&mut self, forgotten: i32, told: Option<String>) -> Result<(), StageError> {
        let cursor = Cursor { forgotten, manner: self.cursor.manner, ..Cursor::default() };
        self.work.checkpoint(&BegunAnew { file_id: self.file.id, cursor: cursor.clone(), told }).await?;
        self.stand_at_the_first_page(cursor).await
    }

    pub(super) async fn stand_at_the_first_page(&mut self, cursor: Cursor) -> Result<(), StageError> {
        self.cursor = cursor;
        self.part.begin_anew().await?;
        self.asked.clear();
        self.doubts = Doubts::default();
        self.know(self.work.parts().await?);
        Ok(())
    }

    /// Reads to the last page, storing part after part.
    pub async fn read(&mut self) -> Result<Downloaded, StageError> {
        loop {
            while !self.cursor.at_end {
                if let Some((page, from)) = self.next_page().await? {
                    self.take(page, &from).await?;
                }
            }
            if !self.is_of_some_only().await? {
                return Ok(downloaded(self.file.id, self.part.cut()));
            }
        }
    }

    /// The pages before one that does not come are not read again.
    async fn next_page(&mut self) -> Result<Option<(Page, Url)>, StageError> {
        match self.page().await {
            Err(error) if self.part.has_pages() && !matches!(error, StageError::Lost) => {
                self.store().await?;
                Err(error)
            }
            result => result,
        }
    }

    async fn take(&mut self, page: Page, from: &Url) -> Result<(), StageError> {
        let next = page.next.clone();
        self.part.add(self.work, page).await?;
        if let Some(next) = &next {
            self.check_next(next, from).await?;
        }
        self.cursor.at_end = next.is_none();
        self.cursor.next = next.map(String::from);
        if self.cursor.at_end || self.part.is_full(self.known.get(&self.part.cut().n)) {
            self.store().await?;
        }
        Ok(())
    }

    /// Makes what was read durable, and where it goes on.
    async fn store(&mut self) -> Result<(), StageError> {
        let mixed = self.part.mixed;
        let mut kept = None;
        if let Some(whole) = self.part.end(self.work)? {
            let known = self.known.get(&whole.part.n);
            if is_stored(&whole.part, known) {
                whole.blob.abort().await.map_err(not_kept)?;
            } else {
                whole.blob.finish().await.map_err(not_kept)?;
                kept = Some(Kept { file_id: self.file.id, file_n: self.file.n, part: whole.part, replaces: known.is_some() });
            }
        }
        if kept.as_ref().is_some_and(|kept| !kept.replaces) {
            self.cursor.forgotten = 0;
        }
        self.cursor.part = self.part.cut().n;
        let stored = Stored { file_id: self.file.id, part: kept, cursor: self.cursor.clone(), mixed };
        let result = self.work.checkpoint(&stored).await;
        // As in a download: the clean-up of a cancelled export may have been here already.
        if let (Err(StageError::Lost), Some(kept)) = (&result, &stored.part)
            && !self.work.is_blob_known(&kept.part.blob_key).await?
            && let Err(error) = self.work.blobs().delete(&kept.part.blob_key).await
        {
            tracing::warn!(%error, "the blob of a part that does not count was not removed");
        }
        result
    }

    /// A link to follow: to the same server, to a page that was not read, one of as many as we follow.
    async fn check_next(&mut self, next: &Url, from: &Url) -> Result<(), StageError> {
        let fail = |detail: String, remedy: &str| StageError::Fail(Trouble::new(Reason::Refused, detail, remedy));
        let (n, pages) = (self.file.n, self.cursor.seen.pages);
        if next.origin() != from.origin() {
            let host = next.host_str().unwrap_or("?");
            return Err(fail(
                format!("Page {pages} of search {n} leads to another server ({host}), which is not asked."),
                "ask the server's operator; or use that host in fhir_server_url if you trust it",
            ));
        }
        if self.asked.contains::<[u8; 32]>(&Sha256::digest(next.as_str()).into()) {
            // A retry is to begin with the first page: these lead nowhere.
            self.begin_anew().await?;
            return Err(fail(
                format!("The pages of search {n} do not end: page {pages} leads to one that was read before."),
                "report it to the server's operator, then retry the export",
            ));
        }
        if pages >= self.work.search_settings().search_max_pages {
            // With a higher limit a retry goes on here.
            self.cursor.next = Some(next.to_string());
            self.store().await?;
            return Err(fail(
                format!("Search {n} has more than {pages} pages (SEARCH_MAX_PAGES)."),
                "raise SEARCH_MAX_PAGES for the workers, then retry the export",
            ));
        }
        Ok(())
    }
}
