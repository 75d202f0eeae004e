//! One file being read: opened, resumed or begun anew, decoded, cut, each part made durable.

use std::{collections::HashMap, time::Duration};

use async_compression::tokio::bufread::GzipDecoder;
use async_trait::async_trait;
use bulkhead_shared::{
    blob::{BlobError, BlobWriter},
    db::{export_files, file_parts::NewPart},
    domain::{
        failure::Reason,
        file::{ExportFile, FilePart, PartState},
        manifest::{Manifest, ManifestFile, tell_apart},
        outgoing::without_query,
        source,
    },
    queue::{Fenced, StageError, Tail, Trouble, Written},
};
use futures::TryStreamExt as _;
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_RANGE, ETAG, RANGE},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;
use url::Url;

use super::{
    super::poll::ask_status,
    {Downloaded, Kept, pace},
};
use crate::{
    blob_key,
    fhir::{
        answer::Refusal,
        auth,
        http::{Ask, MANIFEST_BODY},
    },
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
        Self { work, file, known: known.into_iter().map(|part| (part.n, part)).collect(), cutter: Cutter::default(), blob: None }
    }

    /// Asks for the file: from where the stored parts end if the server can, else from its beginning.
    pub async fn open(&mut self) -> Result<Response, StageError> {
        if let (Some(etag), Some(resume)) = (self.file.etag.clone(), self.end_of_stored()) {
            let ask = self.ask()?.accept_encoding("identity").range_from(resume.byte_start, &etag);
            let answer = self.send(ask).await?;
            if continues_at(&answer, resume.byte_start) {
                self.cutter = Cutter::resume(resume);
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

    /// With or without the token, as the manifest says; where it does not say, to the source's own origin only
    /// (Bulk Data IG, "File Request").
    async fn send(&mut self, ask: Ask) -> Result<Response, StageError> {
        let mut ask = ask;
        for last in [false, true] {
            let with_token = match self.file.requires_token {
                Some(required) if self.work.source.auth != source::Auth::Bearer => required,
                Some(false) => false,
                _ => Url::parse(&self.work.source.base_url).is_ok_and(|base| base.origin() == ask.url.origin()),
            };
            let answer = if with_token {
                auth::send(self.work.http(), &self.work.tokens(), ask.clone()).await?
            } else {
                self.work.http().send(&ask).await?
            };
            match answer.status().as_u16() {
                200 | 206 => return Ok(answer),
                416 if ask.headers.contains_key(RANGE) => return Ok(answer),
                403 | 404 | 410 if !last => {
                    // Perhaps only the link is old: the manifest may have a fresh one.
                    self.refresh_links().await?;
                    ask.url = self.ask()?.url;
                }
                _ => {
                    let refusal = Refusal::read(self.work.http(), answer).await?;
                    pace::was_refused(self.work, &refusal).await?;
                    return Err(refused(&self.file, refusal));
                }
            }
        }
        Err(StageError::Lost)
    }

    /// Fetches the manifest again and takes over the URLs it has now.
    pub async fn refresh_links(&mut self) -> Result<(), StageError> {
        let Some(mut url) = self.work.export.status_url.as_deref().and_then(|url| url.parse::<Url>().ok()) else { return Ok(()) };
        let mut files: Vec<ManifestFile> = Vec::new();
        for _ in 0..self.work.export.manifest_pages.max(1) {
            let answer = ask_status(self.work.http(), &self.work.tokens(), url.clone()).await?;
            if matches!(answer.status().as_u16(), 404 | 410) {
                return Err(StageError::Fail(Trouble::new(
                    Reason::Expired,
                    "The server no longer has the export's files, nor the export.",
                    "retry the export: it starts over at the server; what was loaded is replaced",
                )));
            }
            if answer.status().as_u16() != 200 {
                return Ok(());
            }
            let from = answer.url().clone();
            let body = self.work.http().body(answer, MANIFEST_BODY).await?;
            let Ok(page) = Manifest::read(&body, &from) else { return Ok(()) };
            files.extend(page.files);
            match page.next {
                Some(next) => url = next,
                None => break,
            }
        }
        tell_apart(&mut files);
        self.work.checkpoint(&FreshLinks(files)).await?;
        self.file = self.work.file_now().await?;
        Ok(())
    }

    /// Reads the body to its end, storing part after part.
    pub async fn read(&mut self, answer: Response) -> Result<Downloaded, StageError> {
        let url = answer.url().clone();
        let gzip = answer.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let raw = StreamReader::new(answer.bytes_stream().map_err(std::io::Error::other));
        let mut body: Box<dyn AsyncRead + Send + Unpin> = if gzip {
            let mut decoder = GzipDecoder::new(raw);
            decoder.multiple_members(true);
            Box::new(decoder)
        } else {
            Box::new(raw)
        };
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            let n = body.read(&mut buffer).await.map_err(|error| self.broken(&url, error))?;
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
        StageError::Fail(Trouble::new(
            Reason::Refused,
            format!("File {} cannot be cut into parts: {long}.", self.file.n),
            "ask the server's operator; no FHIR resource is that large",
        ))
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

struct FreshLinks(Vec<ManifestFile>);

#[async_trait]
impl Tail for FreshLinks {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        export_files::refresh(tx.db(), id, &self.0).await?;
        Ok(Written::Done)
    }
}
