//! kick_off: asks the server to start the export (Bulk Data IG, "Kick-off Request"). The one thing that cannot be repeated:
//! the intent is committed before the question, the status URL at once after the answer.

mod conversation;
mod cool_down;
pub mod split;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports, sources},
    domain::{
        failure::Reason,
        source::{Dialect, KickOffPolicy},
        stage::StageKind,
    },
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Trouble, Written},
};
use reqwest::{Response, header::CONTENT_LOCATION};
use url::Url;

use self::conversation::{Conversation, Next};
use super::{Stage, fall_back};
use crate::{
    fhir::{answer::Refusal, auth},
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
        if work.export.restarts > 0 && work.export.manifest_pages == 0 {
            work.wipe().await?;
        }
        if work.export.kick_off_intent_at.is_some() && work.source.kick_off_policy == KickOffPolicy::Hold {
            return Err(StageError::Fail(Trouble::new(
                Reason::KickOffUncertain,
                "The server was asked to start the export, and its answer was lost; this source must not be asked twice.",
                "if you know the export's status URL, resume with it; or wait until the server may be asked again, then retry",
            )));
        }
        if let Some(snooze) = cool_down::left(work).await? {
            return Ok(Outcome::Snooze(snooze));
        }
        // A token first: what fails here has asked the server for nothing.
        auth::token(work.http(), &work.tokens()).await?;
        let mut conversation = Conversation::new(work);
        loop {
            // Committed before the question: from here on a crash leaves the answer in doubt.
            work.checkpoint(&Intent(true)).await?;
            let answer = auth::send(work.http(), &work.tokens(), conversation.ask()?).await?;
            if let Some(status_url) = accepted(&answer) {
                return started(work, &status_url, conversation.learned()).await;
            }
            let refusal = Refusal::read(work.http(), answer).await?;
            // Nothing was started: the question may be asked again freely, except after 5xx, which may hide a yes, and a yes that cannot be used.
            if (300..500).contains(&refusal.status) {
                work.checkpoint(&Intent(false)).await?;
            }
            match conversation.refused(&refusal).await? {
                Next::Ask => {}
                Next::End(outcome) => return Ok(outcome),
            }
        }
    }
}

/// The URL to ask for the export's status.
fn accepted(answer: &Response) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 200 | 202) {
        return None;
    }
    answer.url().join(answer.headers().get(CONTENT_LOCATION)?.to_str().ok()?).ok()
}

/// The server has begun: its status URL is committed before anything else happens.
async fn started(work: &Work, status_url: &Url, learned: Option<Dialect>) -> Result<Outcome, StageError> {
    let started = Started { status_url: status_url.to_string(), source: work.source.id, learned };
    match work.checkpoint(&started).await {
        Ok(()) => Ok(Outcome::Done(Box::new(KickedOff))),
        Err(error) => {
            // Taken over or cancelled meanwhile: somebody must let the server's export go.
            work.orphan(status_url.as_str()).await?;
            Err(error)
        }
    }
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

struct Started {
    status_url: String,
    source: uuid::Uuid,
    /// The dialect it understood, where that had to be found out.
    learned: Option<Dialect>,
}

#[async_trait]
impl Tail for Started {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        // Written before, by a commit whose answer was lost: then it changes nothing and says nothing twice.
        if exports::set_status_url(tx.db(), id, &self.status_url).await? {
            tx.tell(EventLevel::Info, "The server has begun the export; its status URL is kept.").await?;
        } else if exports::status_url(&mut *tx.db(), id).await?.as_ref() != Some(&self.status_url) {
            // It has another one, or can have none: this one becomes an orphan.
            return Err(sqlx::Error::RowNotFound);
        }
        if let Some(dialect) = self.learned {
            sources::learn_dialect(tx.db(), self.source, dialect).await?;
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
