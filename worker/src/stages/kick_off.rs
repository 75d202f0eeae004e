//! kick_off: asks the server to start the export (Bulk Data IG, "Kick-off Request"). The one thing that cannot be repeated:
//! the intent is committed before the question, the status URL at once after the answer.

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    domain::{export, failure::Reason, source::KickOffPolicy, stage::StageKind},
    queue::{Fenced, NewStage, Outcome, Snooze, StageError, Tail, Trouble, Written},
};
use reqwest::header::{CONTENT_LOCATION, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::{Stage, fall_back};
use crate::{
    fhir::{answer::Refusal, auth, http::Ask},
    work::Work,
};

pub struct KickOff;

#[async_trait]
impl Stage for KickOff {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        // An attempt before this one committed the server's answer and was killed before its finish.
        if work.export.status_url.is_some() {
            return Ok(Outcome::Done(Box::new(KickedOff)));
        }
        if fall_back::is_decided(work) {
            return Ok(fall_back::to_search(""));
        }
        if work.export.restarts > 0 {
            work.wipe().await?;
        }
        if work.export.kick_off_intent_at.is_some() && work.source.kick_off_policy == KickOffPolicy::Hold {
            return Err(StageError::Fail(Trouble::new(
                Reason::KickOffUncertain,
                "The server was asked to start the export, and its answer was lost; this source must not be asked twice.",
                "if you know the export's status URL, resume with it; or wait until the server may be asked again, then retry",
            )));
        }
        // A token first: what fails here has asked the server for nothing.
        auth::token(work.http(), &work.tokens()).await?;
        // Committed before the question: from here on a crash leaves the answer in doubt.
        work.checkpoint(&Intent(true)).await?;
        let answer = auth::send(work.http(), &work.tokens(), ask(work)?).await?;
        if matches!(answer.status().as_u16(), 200 | 202)
            && let Some(location) = answer.headers().get(CONTENT_LOCATION).and_then(|l| l.to_str().ok())
            && let Ok(status_url) = answer.url().join(location)
        {
            return started(work, &status_url).await;
        }
        refused(work, Refusal::read(work.http(), answer).await?).await
    }
}

/// The request: GET with comma-joined parameters, which servers of IG 1.x to 3.x understand.
fn ask(work: &Work) -> Result<Ask, StageError> {
    let not_a_url =
        || StageError::Fail(Trouble::new(Reason::Refused, "fhir_server_url is not a URL.", "submit the export again with the right URL"));
    let wanted: &export::Ask = &work.export.ask;
    let mut url = Url::parse(&format!("{}/{}", work.source.base_url, wanted.operation())).map_err(|_| not_a_url())?;
    {
        let mut query = url.query_pairs_mut();
        if !wanted.resource_types.is_empty() {
            query.append_pair("_type", &wanted.resource_types.join(","));
        }
        if let Some(since) = &wanted.since {
            query.append_pair("_since", since);
        }
        for (name, value) in &wanted.parameters {
            let texts: Vec<String> = match value {
                Value::Array(values) => values.iter().map(text).collect(),
                value => vec![text(value)],
            };
            for text in texts {
                query.append_pair(name, &text);
            }
        }
    }
    if url.query() == Some("") {
        url.set_query(None);
    }
    let mut ask =
        Ask::get(url).accept("application/fhir+json").header(HeaderName::from_static("prefer"), HeaderValue::from_static("respond-async"));
    ask.same_origin_only = true;
    Ok(ask)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The server has begun: its status URL is committed before anything else happens.
async fn started(work: &Work, status_url: &Url) -> Result<Outcome, StageError> {
    match work.checkpoint(&Started(status_url.to_string())).await {
        Ok(()) => Ok(Outcome::Done(Box::new(KickedOff))),
        Err(error) => {
            // Taken over or cancelled meanwhile: somebody must let the server's export go.
            work.orphan(status_url.as_str()).await?;
            Err(error)
        }
    }
}

/// Nothing was started: the question may be asked again freely, except after 5xx, which may hide a yes.
async fn refused(work: &Work, refusal: Refusal) -> Result<Outcome, StageError> {
    if refusal.status < 500 {
        work.checkpoint(&Intent(false)).await?;
    }
    if let Some(error) = refusal.credentials() {
        return Err(error);
    }
    if let Some(search) = fall_back::instead(work, &refusal).await? {
        return Ok(search);
    }
    let too_many = refusal.status == 413 || refusal.outcome.as_ref().is_some_and(crate::fhir::outcome::OperationOutcome::is_too_many_files);
    Err(match refusal.status {
        _ if too_many => too_many_files(),
        200..=299 => StageError::Fail(Trouble::new(
            Reason::Refused,
            format!("The server accepted the export but gave no Content-Location to ask for its status ({}).", refusal.words()),
            "check that fhir_server_url is a Bulk Data server",
        )),
        429 => {
            return Ok(Outcome::Snooze(Snooze {
                delay: refusal.retry_after.unwrap_or(work.retry().retry_max_delay),
                progress: Some(format!("waiting: {}", refusal.words()).chars().take(100).collect()),
            }));
        }
        404 => StageError::Fail(Trouble::new(
            Reason::NotFound,
            format!("The server has no {}, or no $export for it: {}.", work.export.ask.title(), refusal.words()),
            "check fhir_server_url and the Group's id",
        )),
        408 | 500.. => refusal.again("The server could not start the export"),
        _ => StageError::Fail(Trouble::new(
            Reason::Refused,
            format!("The server refused the export: {}.", refusal.words()),
            "change the request as the server says, then submit it again",
        )),
    })
}

/// In the guide's words.
pub fn too_many_files() -> StageError {
    StageError::Fail(Trouble::new(
        Reason::TooManyFiles,
        "Bulk export reported error: Too many files.",
        "ask for fewer resource types, or use since to limit the range of data, and submit again",
    ))
}

struct Intent(bool);

#[async_trait]
impl Tail for Intent {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        if self.0 {
            exports::set_intent(tx.db(), id).await?;
        } else {
            exports::clear_intent(tx.db(), id).await?;
        }
        Ok(Written::Done)
    }
}

struct Started(String);

#[async_trait]
impl Tail for Started {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        // Written before, by a commit whose answer was lost: then it changes nothing and says nothing twice.
        if exports::set_status_url(tx.db(), id, &self.0).await? {
            tx.tell(EventLevel::Info, "The server has begun the export; its status URL is kept.").await?;
        }
        Ok(Written::Done)
    }
}

struct KickedOff;

#[async_trait]
impl Tail for KickedOff {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        tx.enqueue(&[NewStage::new(StageKind::Poll)]).await?;
        Ok(Written::Done)
    }
}
