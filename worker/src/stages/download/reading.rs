//! One file being read: opened, resumed or begun anew, decoded, cut, each part made durable.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use bulkhead_shared::{
    blob::{BlobError, BlobWriter},
    db::{export_files, file_parts::NewPart},
    domain::{
        failure::Reason,
        file::{ExportFile, FilePart, PartState},
        manifest::{Manifest, ManifestFile},
        outgoing::without_query,
        source,
    },
    queue::{Fenced, StageError, Tail, Trouble, Written},
};
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE},
};
use url::Url;

use super::{
    super::poll::ask_status,
    body::{Body, BodyError},
    {Downloaded, Kept, pace},
};
use crate::{
    blob_key,
    fhir::{
        answer::Refusal,
        auth,
        http::{Ask, MANIFEST_BODY},
    },
    limits,
    load::cutter::{Cut, Cutter, LineTooLong, Part, Step},
    work::Work,
};

const READ_BUFFER: usize = 64 << 10;

/// One file being read.
pub struct Reading<'w> {
    work: &'w Work,
    pub file: ExportFile,
    known: HashMap<i32, FilePart>,
    cutter: Cutter,
    /// Of the part at hand.
    blob: Option<BlobWriter>,
}

impl<'w> Reading<'w> {
    pub fn new(work: &'w Work, file: ExportFile, known: Vec<FilePart>) -> Self {
        Self {
            work,
            file,
            known: known.into_iter().map(|part| (part.n, part)).collect(),
            cutter: Cutter::at(Cut::default(), work.limits().limit_line_bytes),
            blob: None,
        }
    }

    /// Asks for the file: from where the stored parts end if the server can, else from its beginning.
    pub async fn open(&mut self) -> Result<Response, StageError> {
        if let (Some(etag), Some(resume)) = (self.file.etag.clone(), self.end_of_stored()) {
            let ask = self.ask()?.accept_encoding("identity").range_from(resume.byte_start, &etag);
            let answer = self.send(ask).await?;
            if continues_at(&answer, resume.byte_start) {
                self.cutter = Cutter::at(resume, self.work.limits().limit_line_bytes);
                return Ok(answer);
            }
            if answer.status().as_u16() == 200 {
                return self.opened(answer).await;
            }
            // 416, or another range than asked for: read it whole and compare.
        }
        let ask = self.ask()?.accept_encoding("gzip");
        let answer = self.send(ask).await?;
        self.opened(answer).await
    }

    /// A first answer: remember whether it could be resumed.
    async fn opened(&mut self, answer: Response) -> Result<Response, StageError> {
        let headers = answer.headers();
        let plain = headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
        let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| plain && tag.starts_with('"')).map(str::to_owned);
        // Parts of an earlier answer are of another version, perhaps: then there is nothing to resume.
        let tag = tag.filter(|_| self.known.is_empty());
        self.tag(tag).await?;
        Ok(answer)
    }

    async fn tag(&mut self, etag: Option<String>) -> Result<(), StageError> {
        if etag != self.file.etag {
            self.work.checkpoint(&Tagged { file_id: self.file.id, etag: etag.clone() }).await?;
            self.file.etag = etag;
        }
        Ok(())
    }

    /// The first byte, line and part that are not stored, if the stored parts are whole from the beginning.
    fn end_of_stored(&self) -> Option<Cut> {
        let mut end: Option<Cut> = None;
        for n in 0.. {
            let Some(part) = self.known.get(&n).filter(|part| part.state != PartState::Lost) else { break };
            end = Some(Cut {
                n: n + 1,
                byte_start: part.byte_start + part.byte_len,
                first_line: part.first_line + part.physical_lines,
                lines: end.map_or(0, |e| e.lines) + part.lines,
            });
        }
        // A lost part further on must be read again: then everything is.
        end.filter(|end| self.known.len() == usize::try_from(end.n).unwrap_or(0))
    }

    fn ask(&self) -> Result<Ask, StageError> {
        let url: Url = self.file.url.parse().map_err(|_| {
            StageError::Fail(Trouble::new(Reason::Refused, "The file's URL is not a URL.", "report it to the server's operator"))
        })?;
        Ok(Ask::get(url).accept("application/fhir+ndjson"))
    }

    /// Asks once more where the link may be too old, and where the server does not like our `Accept`.
    async fn send(&mut self, ask: Ask) -> Result<Response, StageError> {
        let mut ask = ask;
        let (mut refreshed, mut bare) = (false, false);
        loop {
            let with_token = self.needs_token(&ask.url);
            let answer = if with_token {
                auth::send(self.work.http(), &self.work.tokens(), ask.clone()).await?
            } else {
                self.work.http().send(&ask).await?
            };
            match answer.status().as_u16() {
                // A gateway's page for people, which would be thousands of broken lines.
                200 if is_html(&answer) => return Err(self.is_a_page()),
                200 | 206 => return Ok(answer),
                416 if ask.headers.contains_key(RANGE) => return Ok(answer),
                406 | 415 if !bare => {
                    bare = true;
                    ask = ask.accept("*/*");
                }
                status @ (401 | 403 | 404 | 410) if !refreshed && (status != 401 || !with_token) => {
                    // Perhaps only the link is old: the manifest may have a fresh one.
                    refreshed = true;
                    self.refresh_links().await?;
                    let fresh = self.ask()?.url;
                    if status == 404 && fresh == ask.url {
                        // The link is the same: some servers say so when they are asked for too many files at once.
                        pace::was_refused(self.work, &Refusal::read(self.work.http(), answer).await?).await?;
                    }
                    ask.url = fresh;
                }
                _ => {
                    let refusal = Refusal::read(self.work.http(), answer).await?;
                    pace::was_refused(self.work, &refusal).await?;
                    return Err(refused(&self.file, refusal));
                }
            }
        }
    }

    /// As the manifest says; where it does not say, to the source's own origin only (Bulk Data IG, "File Request").
    fn needs_token(&self, url: &Url) -> bool {
        match self.file.requires_token {
            Some(required) if self.work.source.auth != source::Auth::Bearer => required,
            Some(false) => false,
            _ => Url::parse(&self.work.source.base_url).is_ok_and(|base| base.origin() == url.origin()),
        }
    }

    /// Fetches the page of the manifest that lists the file again and takes over the URLs it has now.
    pub async fn refresh_links(&mut self) -> Result<(), StageError> {
        let page = self.file.manifest_url.as_deref().or(self.work.export.status_url.as_deref());
        let Some(url) = page.and_then(|url| url.parse::<Url>().ok()) else { return Ok(()) };
        let manifest_url = url.to_string();
        let answer = ask_status(self.work.http(), &self.work.tokens(), url).await?;
        match answer.status().as_u16() {
            404 | 410 => {
                return Err(StageError::Fail(Trouble::new(
                    Reason::Expired,
                    "The server no longer has the export's files, nor the export.",
                    "retry the export: it starts over at the server; what was loaded is replaced",
                )));
            }
            // While the export goes on, a page comes with 202.
            200 | 202 => {}
            _ => return Ok(()),
        }
        let from = answer.url().clone();
        let body = self.work.http().body(answer, MANIFEST_BODY).await?;
        let Ok(page) = Manifest::read(&body, &from) else { return Ok(()) };
        self.work.checkpoint(&FreshLinks { manifest_url, files: page.files }).await?;
        self.file = self.work.file_now().await?;
        Ok(())
    }

    /// Reads the body to its end, storing part after part.
    pub async fn read(&mut self, answer: Response) -> Result<Downloaded, StageError> {
        let url = answer.url().clone();
        let mut body = Body::of(answer, self.work);
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            let n = body.read(&mut buffer, self.cutter.cut()).await.map_err(|error| match error {
                BodyError::Io(error) => self.broken(&url, error),
                BodyError::Stage(error) => error,
            })?;
            if n == 0 {
                break;
            }
            self.cutter.push(&buffer[..n]);
            while let Some(step) = self.cutter.next_step(self.border()).map_err(|long| self.too_long(&long))? {
                self.take(step).await?;
            }
        }
        // Whoever reads it again doubts it (its count, its lines, whether this was its end): from the start then, not from its end.
        self.tag(None).await?;
        while let Some(step) = self.cutter.last_step() {
            self.take(step).await?;
        }
        let end = self.cutter.cut();
        Ok(Downloaded { file_id: self.file.id, parts: end.n, lines: end.lines, bytes: end.byte_start })
    }

    /// Where the stored part of this number ended: cut there again, so that the two can be compared.
    fn border(&self) -> Option<usize> {
        let part = self.known.get(&self.cutter.cut().n)?;
        usize::try_from(part.byte_len).ok()
    }

    async fn take(&mut self, step: Step) -> Result<(), StageError> {
        match step {
            Step::Piece(piece) => {
                let key = self.blob_key(self.cutter.cut().n);
                let blob = self.blob.get_or_insert_with(|| self.work.blobs().create(&key));
                blob.write(piece.into()).await.map_err(not_kept)
            }
            Step::End(part) => self.keep(part).await,
        }
    }

    fn blob_key(&self, n: i32) -> String {
        let compression = self.work.blobs().compression();
        blob_key::of_part(self.work.export.id, self.file.id, self.work.claim().claim_id, n, compression)
    }

    /// Makes a part durable, unless it is there already.
    async fn keep(&mut self, part: Part) -> Result<(), StageError> {
        let Part { cut, byte_len, physical_lines, lines, sha256 } = part;
        let blob = self.blob.take().ok_or(StageError::Lost)?;
        let known = self.known.get(&cut.n);
        if known.is_some_and(|part| {
            let same_place = part.byte_start == cut.byte_start && part.first_line == cut.first_line;
            same_place && part.sha256 == sha256 && part.state != PartState::Lost
        }) {
            return blob.abort().await.map_err(not_kept);
        }
        blob.finish().await.map_err(not_kept)?;
        let blob_key = self.blob_key(cut.n);
        let part =
            NewPart { n: cut.n, blob_key, byte_start: cut.byte_start, byte_len, first_line: cut.first_line, physical_lines, lines, sha256 };
        let kept = Kept { file_id: self.file.id, file_n: self.file.n, part, replaces: known.is_some() };
        let result = self.work.checkpoint(&kept).await;
        // The clean-up of a cancelled export may have been here already. A commit whose answer was lost may have kept it.
        if matches!(result, Err(StageError::Lost))
            && !self.work.is_blob_known(&kept.part.blob_key).await?
            && let Err(error) = self.work.blobs().delete(&kept.part.blob_key).await
        {
            tracing::warn!(%error, "the blob of a part that does not count was not removed");
        }
        result
    }

    fn is_a_page(&self) -> StageError {
        let detail = format!("File {} came as an HTML page.", self.file.n);
        StageError::Retry(Trouble::new(Reason::ServerError, detail, "if it stays so, ask the server's operator"), None)
    }

    fn broken(&self, url: &Url, error: std::io::Error) -> StageError {
        let place = without_query(url.as_str());
        let inner = error.into_inner().and_then(|inner| inner.downcast::<reqwest::Error>().ok());
        match inner {
            Some(error) => self.work.http().trouble(url, *error),
            None => StageError::Retry(
                Trouble::new(Reason::ServerError, format!("The body of {place} is broken."), "if it stays so, ask the server's operator"),
                None,
            ),
        }
    }

    fn too_long(&self, long: &LineTooLong) -> StageError {
        limits::met(format!("File {} cannot be cut into parts: {long}", self.file.n), "LIMIT_LINE_BYTES")
    }
}

pub fn not_kept(error: BlobError) -> StageError {
    match error {
        BlobError::Full => StageError::Again(error.to_string(), Duration::from_secs(30)),
        other => StageError::Retry(
            Trouble::new(Reason::Internal, format!("A part could not be kept: {other}."), "check BULK_DATA_DIR, then retry the export"),
            None,
        ),
    }
}

fn is_html(answer: &Response) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"))
}

/// 206 with exactly the range asked for.
fn continues_at(answer: &Response, start: i64) -> bool {
    answer.status().as_u16() == 206
        && answer.headers().get(CONTENT_RANGE).and_then(|r| r.to_str().ok()).is_some_and(|r| r.starts_with(&format!("bytes {start}-")))
}

fn refused(file: &ExportFile, refusal: Refusal) -> StageError {
    if let Some(error) = refusal.credentials() {
        return error;
    }
    match refusal.status {
        429 => StageError::Again(pace::SLOW_DOWN.to_owned(), refusal.retry_after.unwrap_or(pace::PAUSE)),
        410 => StageError::Fail(Trouble::new(
            Reason::Expired,
            format!("File {} has expired at the server: {}.", file.n, refusal.words()),
            "retry the export: it starts over at the server; what was loaded is replaced",
        )),
        202 | 404 | 408 | 425 | 500.. => refusal.again(&format!("File {} could not be downloaded", file.n)),
        _ => StageError::Fail(Trouble::new(
            Reason::Refused,
            format!("File {} was refused: {}.", file.n, refusal.words()),
            "ask the server's operator",
        )),
    }
}

struct Tagged {
    file_id: i64,
    etag: Option<String>,
}

#[async_trait]
impl Tail for Tagged {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        export_files::set_etag(tx.db(), self.file_id, self.etag.as_deref()).await?;
        Ok(Written::Done)
    }
}

struct FreshLinks {
    manifest_url: String,
    files: Vec<ManifestFile>,
}

#[async_trait]
impl Tail for FreshLinks {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        export_files::refresh(tx.db(), id, &self.manifest_url, &self.files).await?;
        Ok(Written::Done)
    }
}
