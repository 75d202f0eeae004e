//! One search being read: begun or gone on with, page after page, each part made durable with the link to the page after it.

use std::collections::{HashMap, HashSet};

use bulkhead_shared::{
    db::export_files::searches::NewSearch,
    domain::{
        failure::Reason,
        file::{ExportFile, FilePart, PartState},
        search::{Cursor, Search},
    },
    queue::{StageError, Trouble},
};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    super::{
        download::{Downloaded, Kept, not_kept, pace},
        members,
    },
    BegunAnew, Split, Stored, downloaded,
    part::{Growing, is_stored},
};
use crate::{
    fhir::{answer::Refusal, auth, bundle::Page, http::Ask},
    load::cutter::Cut,
    work::Work,
};

/// One search being read.
pub struct Paging<'w> {
    work: &'w Work,
    pub file: ExportFile,
    pub search: Search,
    pub cursor: Cursor,
    known: HashMap<i32, FilePart>,
    part: Growing,
    /// Digests of the URLs that were asked for.
    asked: HashSet<[u8; 32]>,
    post: Post,
}

/// Whether the first page is asked for by POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
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
            part: Growing::at(Cut::default()),
            asked: HashSet::new(),
            post: Post::WhenLong,
        };
        paging.know(work.parts().await?);
        match paging.end_of_stored() {
            Some(cut) => paging.part = Growing::at(cut),
            // A part is gone: then all are read again, and compared.
            None => paging.begin_anew().await?,
        }
        Ok(paging)
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
        let cursor = Cursor { forgotten: self.cursor.forgotten, ..Cursor::default() };
        self.begin(cursor, None).await
    }

    async fn begin(&mut self, cursor: Cursor, told: Option<String>) -> Result<(), StageError> {
        self.part.give_up().await?;
        self.work.checkpoint(&BegunAnew { file_id: self.file.id, cursor: cursor.clone(), told }).await?;
        self.cursor = cursor;
        self.part = Growing::at(Cut::default());
        self.asked.clear();
        self.know(self.work.parts().await?);
        Ok(())
    }

    /// Reads to the last page, storing part after part.
    pub async fn read(&mut self) -> Result<Downloaded, StageError> {
        while !self.cursor.at_end {
            let Some((page, from)) = self.page().await? else { continue };
            let next = page.next.clone();
            self.part.add(self.work, page).await?;
            if let Some(next) = &next {
                self.check_next(next, &from).await?;
            }
            self.cursor.at_end = next.is_none();
            self.cursor.next = next.map(String::from);
            if self.cursor.at_end || self.part.is_full(self.known.get(&self.part.cut().n)) {
                self.store().await?;
            }
        }
        Ok(downloaded(self.file.id, self.part.cut()))
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

    /// Asks for the next page. `None`: there is another one to ask for now.
    async fn page(&mut self) -> Result<Option<(Page, Url)>, StageError> {
        let ask = match &self.cursor.next {
            Some(next) => Ask::get(Url::parse(next).map_err(|_| StageError::Lost)?),
            None => match self.first_page()? {
                Some(ask) => ask,
                None => return self.split(self.search.half().unwrap_or(1)).await.map(|()| None),
            },
        };
        let mut ask = ask.accept("application/fhir+json");
        ask.same_origin_only = true;
        self.asked.insert(Sha256::digest(ask.url.as_str()).into());
        let answer = auth::send(self.work.http(), &self.work.tokens(), ask).await?;
        if !answer.status().is_success() {
            let refusal = Refusal::read(self.work.http(), answer).await?;
            return self.refused(refusal).await.map(|()| None);
        }
        let from = answer.url().clone();
        let most = usize::from(self.work.search_settings().search_max_page_size) << 20;
        let body = self.work.http().body(answer, most).await.map_err(|error| match error {
            StageError::Fail(trouble) => StageError::Fail(Trouble {
                detail: format!("{} (SEARCH_MAX_PAGE_SIZE)", trouble.detail.trim_end_matches('.')),
                remedy: "lower SEARCH_PAGE or raise SEARCH_MAX_PAGE_SIZE for the workers, then retry the export".to_owned(),
                ..trouble
            }),
            other => other,
        })?;
        let mut seen = self.cursor.seen.clone();
        let page = Page::read(&body, &from, &self.search.resource_type, &mut seen).map_err(|unreadable| {
            let detail = format!("Page {} of search {} cannot be used: {unreadable}.", self.cursor.seen.pages + 1, self.file.n);
            StageError::Retry(Trouble::new(Reason::ServerError, detail, "report it to the server's operator"), None)
        })?;
        self.cursor.seen = seen;
        Ok(Some((page, from)))
    }

    /// The question. `None`: it is too long for a URL, and the server takes no other.
    fn first_page(&self) -> Result<Option<Ask>, StageError> {
        let settings = self.work.search_settings();
        let mut parameters = self.search.parameters();
        parameters.push(("_count".to_owned(), settings.search_page.to_string()));
        let mut url = members::url(self.work, &[&self.search.resource_type])?;
        url.query_pairs_mut().extend_pairs(&parameters);
        let long = url.as_str().len() > settings.search_url_length;
        if self.post == Post::Never && long && self.search.half().is_some() {
            return Ok(None);
        }
        if self.post == Post::Always || (long && self.post == Post::WhenLong) {
            let url = members::url(self.work, &[&self.search.resource_type, "_search"])?;
            let fields: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            return Ok(Some(Ask::new(Method::POST, url).form(&fields)));
        }
        Ok(Some(Ask::get(url)))
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

    /// The server does not give this page. An error, or there is another way to ask.
    async fn refused(&mut self, refusal: Refusal) -> Result<(), StageError> {
        pace::was_refused(self.work, &refusal).await?;
        if let Some(error) = refusal.credentials() {
            return Err(error);
        }
        let (first, kind, n) = (self.cursor.next.is_none(), self.search.resource_type.clone(), self.file.n);
        match refusal.status {
            429 => Err(StageError::Again(pace::SLOW_DOWN.to_owned(), refusal.retry_after.unwrap_or(pace::PAUSE))),
            400 | 404 | 410 if !first => self.forgotten(&refusal).await,
            413 | 414 | 431 if first && self.post == Post::WhenLong => {
                self.post = Post::Always;
                Ok(())
            }
            404 | 405 | 501 if first && self.is_posted() => {
                self.post = Post::Never;
                Ok(())
            }
            413 | 414 | 431 if first && self.search.half().is_some() => self.split(self.search.half().unwrap_or(1)).await,
            // Servers that take no list take one patient only.
            400 | 422 if first && self.bears_one_patient().await? => self.split(1).await,
            501 => Err(self.fail(format!("The server cannot search {kind}: {}.", refusal.words()))),
            408 | 425 | 500.. => Err(refusal.again(&format!("Page {} of search {n} could not be read", self.cursor.seen.pages + 1))),
            _ => Err(self.fail(format!("Search {n} ({kind}) was refused: {}.", refusal.words()))),
        }
    }

    #[expect(clippy::unused_self, reason = "reads well where it is used")]
    fn fail(&self, detail: String) -> StageError {
        StageError::Fail(Trouble::new(Reason::Refused, detail, "ask the server's operator; or ask for other resource types or filters"))
    }

    fn is_posted(&self) -> bool {
        self.post != Post::Never && self.first_page().is_ok_and(|ask| ask.is_some_and(|ask| ask.method == Method::POST))
    }

    /// The pages are only kept for a while at many servers. Once it begins anew by itself: what comes the same keeps its rows.
    async fn forgotten(&mut self, refusal: &Refusal) -> Result<(), StageError> {
        let detail =
            format!("The server has forgotten page {} of search {}: {}.", self.cursor.seen.pages + 1, self.file.n, refusal.words());
        if self.cursor.forgotten > 0 {
            // A retry may have more luck.
            self.begin(Cursor::default(), None).await?;
            return Err(StageError::Fail(Trouble::new(
                Reason::ServerError,
                detail,
                "lower SEARCH_PATIENTS for the workers, so that each search has fewer pages, then retry the export",
            )));
        }
        let cursor = Cursor { forgotten: self.cursor.forgotten + 1, ..Cursor::default() };
        self.begin(cursor, Some(format!("{detail} It begins with its first page again."))).await
    }

    /// Whether a refused question would be answered for one patient: then it was too much, and not wrong.
    async fn bears_one_patient(&mut self) -> Result<bool, StageError> {
        let Some(one) = self.search.in_pieces(1).map(|mut pieces| pieces.remove(0)) else { return Ok(false) };
        let mut url = members::url(self.work, &[&one.resource_type])?;
        url.query_pairs_mut().extend_pairs(one.parameters()).append_pair("_count", "1");
        Ok(members::ask(self.work, url).await?.is_ok())
    }

    /// It keeps so many patients at most; the others are other searches from now on.
    async fn split(&mut self, size: usize) -> Result<(), StageError> {
        let Some(mut pieces) = self.search.in_pieces(size) else { return Err(StageError::Lost) };
        let (kind, n) = (self.search.resource_type.clone(), self.file.n);
        let told = format!("The server refuses so many patients at once: search {n} ({kind}) is made in {}.", pieces.len());
        let first = pieces.remove(0);
        // The pieces of a piece are smaller: no key comes twice.
        let key = |place: usize| format!("search:{kind}:{n}/{size}.{place}");
        let others = pieces.into_iter().enumerate().map(|(at, search)| NewSearch { url: self.file.url.clone(), key: key(at + 2), search });
        let split = Split { file_id: self.file.id, first, others: others.collect(), told };
        self.work.checkpoint(&split).await?;
        self.search = split.first;
        self.cursor = Cursor::default();
        Ok(())
    }
}
