//! poll: asks how far the export is; when it is done, takes the manifest in (Bulk Data IG, "Status Request").

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    clock,
    db::{
        export_events::EventLevel,
        export_files,
        exports::{self, ManifestPage},
    },
    domain::{failure::Reason, manifest::Manifest, stage::StageKind},
    queue::{Fenced, NewStage, Outcome, Snooze, StageError, Tail, Trouble, Written},
};
use chrono::{DateTime, Utc};
use reqwest::{
    Response,
    header::{EXPIRES, HeaderMap},
};
use serde_json::Value;
use url::Url;

use super::{Stage, kick_off::too_many_files};
use crate::{
    fhir::{
        answer::Refusal,
        auth,
        http::{Ask, Http, MANIFEST_BODY},
        outcome::OperationOutcome,
        retry_after,
    },
    work::{Tokens, Work},
};

/// Without `Retry-After` polls are at most this far apart.
const SLOWEST: Duration = Duration::from_secs(60);
/// No manifest has more pages.
const MOST_PAGES: i32 = 10_000;
/// A terminal-looking 5xx is believed on this attempt.
const BELIEVE_5XX: i32 = 3;

pub struct Poll;

#[async_trait]
impl Stage for Poll {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        let export = &work.export;
        let url = export.next_manifest_url.as_deref().or(export.status_url.as_deref()).ok_or(StageError::Lost)?;
        let url: Url = url
            .parse()
            .map_err(|_| StageError::Fail(Trouble::new(Reason::Refused, "The status URL is not a URL.", "submit the export again")))?;
        let answer = ask_status(work.http(), &work.tokens(), url).await?;
        match answer.status().as_u16() {
            // The answer itself went well, the export has not ended (Bulk Data IG, "separate-export-status").
            200 if answer.headers().get("x-export-status").is_some_and(|status| status.as_bytes().starts_with(b"202")) => {
                Ok(Outcome::Snooze(wait(answer.headers(), work.claim().snoozes)))
            }
            202 => Ok(Outcome::Snooze(wait(answer.headers(), work.claim().snoozes))),
            200..=299 => take_in(work, answer).await,
            _ => refused(work, Refusal::read(work.http(), answer).await?),
        }
    }
}

/// The status request.
pub async fn ask_status(http: &Http, tokens: &Tokens<'_>, url: Url) -> Result<Response, StageError> {
    auth::send(http, tokens, Ask::get(url).accept("application/json")).await
}

/// As long as the server says; else longer and longer, with jitter.
fn wait(headers: &HeaderMap, snoozes: i32) -> Snooze {
    let growing = Duration::from_secs(1).saturating_mul(1 << snoozes.clamp(0, 10)).min(SLOWEST);
    let delay = retry_after::of(headers).unwrap_or_else(|| growing / 2 + clock::jitter(growing / 2));
    let progress = headers.get("x-progress").and_then(|p| p.to_str().ok()).map(|p| p.chars().take(100).collect());
    Snooze { delay, progress }
}

async fn take_in(work: &Work, answer: Response) -> Result<Outcome, StageError> {
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
    // A circle of pages would be walked for ever.
    if manifest.next.as_ref() == Some(&url) || work.export.manifest_pages >= MOST_PAGES {
        return Err(StageError::Fail(Trouble::new(
            Reason::Refused,
            format!("The manifest's pages do not end (page {}).", work.export.manifest_pages + 1),
            "report it to the server's operator",
        )));
    }
    let raw = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Outcome::Done(Box::new(TakenIn { manifest, expires_at, raw })))
}

/// `Expires`, by the server's own clock (Bulk Data IG, "Response - Complete Status").
fn expires(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let expires = httpdate::parse_http_date(headers.get(EXPIRES)?.to_str().ok()?).ok()?;
    let left = expires.duration_since(retry_after::server_time(headers)).ok()?;
    Some(clock::now() + chrono::Duration::from_std(left).ok()?)
}

fn refused(work: &Work, refusal: Refusal) -> Result<Outcome, StageError> {
    if let Some(error) = refusal.credentials() {
        return Err(error);
    }
    let outcome = refusal.outcome.as_ref();
    if refusal.status == 413 || outcome.is_some_and(OperationOutcome::is_too_many_files) {
        return Err(too_many_files());
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
    manifest: Manifest,
    expires_at: Option<DateTime<Utc>>,
    raw: Value,
}

#[async_trait]
impl Tail for TakenIn {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        let page = ManifestPage {
            transaction_time: self.manifest.transaction_time.as_deref(),
            expires_at: self.expires_at,
            next: self.manifest.next.as_ref().map(Url::as_str),
            raw: self.raw.clone(),
        };
        exports::add_manifest_page(tx.db(), id, &page).await?;
        let files = export_files::add(tx.db(), id, &self.manifest.files).await?;
        let downloads: Vec<NewStage> = files.iter().map(|(file, n)| NewStage::download(*file, *n)).collect();
        tx.enqueue(&downloads).await?;
        let more = if self.manifest.next.is_some() { ", and more pages to come" } else { "" };
        tx.tell(EventLevel::Info, &format!("The server has finished: {} files{more}.", files.len())).await?;
        if self.manifest.next.is_some() {
            tx.enqueue(&[NewStage::new(StageKind::Poll)]).await?;
        }
        Ok(Written::Done)
    }
}
