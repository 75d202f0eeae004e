//! poll: asks how far the export is; when it is done, takes the manifest in (Bulk Data IG, "Status Request").

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    clock,
    db::{
        export_events::EventLevel,
        export_files,
        exports::{self, ManifestPage, PageIs},
    },
    domain::{
        failure::{Failure, Reason},
        file::FileKind,
        finding::{Finding, FindingKind, Severity},
        manifest::Manifest,
        stage::StageKind,
    },
    queue::{Fenced, NewStage, Outcome, REPORT, Snooze, StageError, Tail, Trouble, Written},
};
use chrono::{DateTime, Utc};
use reqwest::{
    Response,
    header::{EXPIRES, HeaderMap},
};
use serde_json::Value;
use url::Url;

use super::{Stage, kick_off::split};
use crate::{
    fhir::{
        answer::Refusal,
        auth,
        http::{Ask, Http, MANIFEST_BODY},
        outcome::OperationOutcome,
        retry_after,
    },
    limits,
    work::{Tokens, Work},
};

/// Without `Retry-After` polls are at most this far apart.
const SLOWEST: Duration = Duration::from_secs(60);
/// A terminal-looking 5xx is believed on this attempt.
const BELIEVE_5XX: i32 = 3;

pub struct Poll;

#[async_trait]
impl Stage for Poll {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        let export = &work.export;
        let url = export.next_manifest_url.as_deref().or(export.status_url.as_deref()).ok_or_else(no_url)?;
        let url: Url = url
            .parse()
            .map_err(|_| StageError::Fail(Trouble::new(Reason::Refused, "The status URL is not a URL.", "submit the export again")))?;
        let answer = ask_status(work.http(), &work.tokens(), url.clone()).await?;
        match answer.status().as_u16() {
            200 | 202 if has_not_ended(&answer) => later(work, url, answer).await,
            200..=299 => take_in(work, url, answer).await,
            _ => refused(work, Refusal::read(work.http(), answer).await?).await,
        }
    }
}

/// The answer itself may have gone well: then a header has the export's status (Bulk Data IG, "separate-export-status").
fn has_not_ended(answer: &Response) -> bool {
    let status = answer.headers().get("x-export-status");
    answer.status().as_u16() == 202 || status.is_some_and(|status| status.as_bytes().starts_with(b"202"))
}

fn no_url() -> StageError {
    StageError::Fail(Trouble::new(Reason::Internal, "The export has no status URL to ask.", REPORT))
}

/// The status request. A server that does not like the `Accept` that the IG wants gets another one.
pub async fn ask_status(http: &Http, tokens: &Tokens<'_>, url: Url) -> Result<Response, StageError> {
    let answer = auth::send(http, tokens, Ask::get(url.clone()).accept("application/json")).await?;
    if matches!(answer.status().as_u16(), 406 | 415) {
        return auth::send(http, tokens, Ask::get(url).accept("*/*")).await;
    }
    Ok(answer)
}

/// As long as the server says; else longer and longer, with jitter.
fn wait(headers: &HeaderMap, snoozes: i32) -> Snooze {
    let growing = Duration::from_secs(1).saturating_mul(1 << snoozes.clamp(0, 10)).min(SLOWEST);
    let delay = retry_after::of(headers).unwrap_or_else(|| growing / 2 + clock::jitter(growing / 2));
    let progress = headers.get("x-progress").and_then(|p| p.to_str().ok()).map(|p| p.chars().take(100).collect());
    Snooze { delay, progress }
}

/// The export goes on. Files that the answer lists already are taken now (Bulk Data IG, "allowPartialManifests").
async fn later(work: &Work, asked: Url, answer: Response) -> Result<Outcome, StageError> {
    limits::export_time(&work.export, work.limits())?;
    let snooze = wait(answer.headers(), work.claim().snoozes);
    let (url, expires_at) = (answer.url().clone(), expires(answer.headers()));
    // Whatever else stands there, a page for people for example, is no matter.
    let body = work.http().body(answer, MANIFEST_BODY).await?;
    if let Ok(manifest) = Manifest::read(&body, &url)
        && !manifest.files.is_empty()
    {
        limits::manifest(work, &manifest)?;
        work.checkpoint(&TakenIn::of(work, asked, manifest, expires_at, &body, true)).await?;
    }
    Ok(Outcome::Snooze(snooze))
}

async fn take_in(work: &Work, asked: Url, answer: Response) -> Result<Outcome, StageError> {
    let url = answer.url().clone();
    let expires_at = expires(answer.headers());
    let body = work.http().body(answer, MANIFEST_BODY).await?;
    let manifest = Manifest::read(&body, &url).map_err(|unreadable| {
        // A gateway's page with status 200 happens; a manifest that stays unreadable is the server's fault.
        StageError::Retry(
            Trouble::new(
                Reason::Unreachable,
                format!("The server's answer cannot be used: {unreadable}."),
                "report it to the server's operator",
            ),
            None,
        )
    })?;
    limits::manifest(work, &manifest)?;
    Ok(Outcome::Done(Box::new(TakenIn::of(work, asked, manifest, expires_at, &body, false))))
}

/// `Expires`, by the server's own clock (Bulk Data IG, "Response - Complete Status").
fn expires(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let expires = httpdate::parse_http_date(headers.get(EXPIRES)?.to_str().ok()?).ok()?;
    let left = expires.duration_since(retry_after::server_time(headers)).ok()?;
    Some(clock::now() + chrono::Duration::from_std(left).ok()?)
}

async fn refused(work: &Work, refusal: Refusal) -> Result<Outcome, StageError> {
    if let Some(error) = refusal.credentials() {
        return Err(error);
    }
    let outcome = refusal.outcome.as_ref();
    if refusal.status == 413 || outcome.is_some_and(OperationOutcome::is_too_many_files) {
        return split::too_many_files(work).await;
    }
    let expired = |detail: String| {
        Err(StageError::Fail(Trouble::new(
            Reason::Expired,
            detail,
            "retry the export: it starts over at the server; what was loaded is replaced",
        )))
    };
    let transient = outcome.is_some_and(|outcome| outcome.is_transient(refusal.status));
    match refusal.status {
        429 => Ok(Outcome::Snooze(Snooze {
            delay: refusal.retry_after.unwrap_or(SLOWEST),
            progress: Some("the server asks to slow down".to_owned()),
        })),
        410 => expired(format!("The server no longer has the export: {}.", refusal.words())),
        // Confirmed once: some servers say 404 for a moment.
        404 if work.claim().attempt >= 2 => expired(format!("The server does not know the export: {}.", refusal.words())),
        _ if transient => Err(refusal.again("The server has a passing problem")),
        404 | 408 => Err(refusal.again("The server does not know the export's status")),
        // With words of its own the server may mean it; a gateway never does.
        500.. if outcome.is_none() || work.claim().attempt < BELIEVE_5XX => {
            Err(refusal.again("The server could not tell the export's status"))
        }
        _ => Err(StageError::Fail(Trouble::new(
            Reason::ServerError,
            format!("Bulk export reported error: {}.", refusal.words()),
            "retry the export: it starts over at the server; if it fails again, ask the server's operator",
        ))),
    }
}

/// A page of the manifest, its files and their downloads, in one transaction.
struct TakenIn {
    /// As it was asked for, before any redirect: it is asked for again when links are too old.
    url: Url,
    manifest: Manifest,
    expires_at: Option<DateTime<Utc>>,
    raw: Value,
    /// The export has not ended.
    partial: bool,
    /// The server is to be asked for another type after this one.
    more_types: bool,
    /// Files of types that nobody asked for.
    not_wanted: usize,
}

impl TakenIn {
    fn of(work: &Work, url: Url, mut manifest: Manifest, expires_at: Option<DateTime<Utc>>, body: &[u8], partial: bool) -> Self {
        let not_wanted = leave_out_types(work, &mut manifest);
        let more_types = !partial && manifest.next.is_none() && work.export.has_more_types();
        let raw = serde_json::from_slice(body).unwrap_or(Value::Null);
        Self { url, manifest, expires_at, raw, partial, more_types, not_wanted }
    }

    fn sentence(&self, new: usize) -> String {
        let more = match (&self.manifest.next, self.more_types) {
            (Some(_), _) => ", and more pages to come",
            (None, true) => ", and more types to come",
            _ => "",
        };
        if self.partial {
            format!("The server goes on. New files: {new}.")
        } else {
            format!("The server has finished. Files: {new}{more}.")
        }
    }
}

/// The server does not support `_type`: files of other types are not even downloaded.
fn leave_out_types(work: &Work, manifest: &mut Manifest) -> usize {
    let wanted = &work.export.ask.resource_types;
    if !work.export.was_dropped("_type") || wanted.is_empty() {
        return 0;
    }
    let all = manifest.files.len();
    manifest.files.retain(|file| {
        let other = file.resource_type.as_ref().is_some_and(|kind| !wanted.contains(kind));
        file.kind != FileKind::Output || !other
    });
    all - manifest.files.len()
}

#[async_trait]
impl Tail for TakenIn {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        let page = ManifestPage {
            transaction_time: self.manifest.transaction_time.as_deref(),
            expires_at: self.expires_at,
            url: self.url.as_str(),
            next: self.manifest.next.as_ref().map(Url::as_str),
            partial: self.partial,
            raw: self.raw.clone(),
        };
        match exports::add_manifest_page(tx.db(), id, &page).await? {
            PageIs::New => {}
            PageIs::Known => return Ok(Written::Done),
            PageIs::Circle => return Ok(Written::Fail(in_a_circle(), Vec::new())),
        }
        let files = export_files::add(tx.db(), id, self.url.as_str(), &self.manifest.files).await?;
        let downloads: Vec<NewStage> = files.iter().map(|(file, n)| NewStage::download(*file, *n)).collect();
        tx.enqueue(&downloads).await?;
        if !self.partial || !files.is_empty() {
            tx.tell(EventLevel::Info, &self.sentence(files.len())).await?;
        }
        if self.not_wanted > 0 {
            let message = format!("Files of types that were not asked for, and were not downloaded: {}.", self.not_wanted);
            let finding = Finding { severity: Severity::Warning, kind: FindingKind::LeftOut, resource_type: None, file: None, message };
            exports::add_finding(tx.db(), id, &finding).await?;
        }
        if self.manifest.next.is_some() && !self.partial {
            tx.enqueue(&[NewStage::new(StageKind::Poll)]).await?;
        }
        if self.more_types {
            exports::next_type(tx.db(), id).await?;
            tx.enqueue(&[NewStage::new(StageKind::KickOff)]).await?;
        }
        Ok(Written::Done)
    }
}

/// Its pages would be walked for ever.
fn in_a_circle() -> Failure {
    Failure {
        stage: StageKind::Poll,
        reason: Reason::ServerError,
        detail: "The manifest's pages go in a circle.".to_owned(),
        remedy: "retry the export; if it stays so, report it to the server's operator".to_owned(),
    }
}
