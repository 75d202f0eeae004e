//! auth: finds out where tokens come from, and makes sure that there is one, before anything is asked that cannot be asked twice.

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    domain::{export::ExportState, finding::Finding, scope, source, stage::StageKind},
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Written},
};

use super::{Nothing, Stage};
use crate::{
    fhir::{auth, discovery},
    work::Work,
};

/// Sentences about scopes in the story; `finish` has them all.
const MOST_TOLD: usize = 5;

pub struct Auth;

#[async_trait]
impl Stage for Auth {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        if work.export.state == ExportState::Queued {
            work.checkpoint(&Authenticating).await?;
        }
        let token = match work.source.auth {
            source::Auth::Smart => {
                let source = discovery::complete(work).await?;
                auth::token(work.http(), &work.tokens_of(&source)).await?
            }
            source::Auth::Open | source::Auth::Bearer => None,
        };
        if work.export.manifest_pages > 0 {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        Ok(Outcome::Done(Box::new(Authenticated {
            resumed: work.export.status_url.is_some(),
            narrower: scope::narrower(token.as_ref().and_then(|token| token.scope.as_deref()), &work.export.ask),
            smart: token.is_some(),
            scope: token.and_then(|token| token.scope),
        })))
    }
}

struct Authenticating;

#[async_trait]
impl Tail for Authenticating {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        exports::step(tx.db(), id, &[ExportState::Queued], ExportState::Authenticating).await?;
        Ok(Written::Done)
    }
}

struct Authenticated {
    /// It has a status URL already: a resumed export.
    resumed: bool,
    smart: bool,
    /// What was granted, and what of it is less than was asked for.
    scope: Option<String>,
    narrower: Vec<Finding>,
}

#[async_trait]
impl Tail for Authenticated {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        let (to, next) =
            if self.resumed { (ExportState::InProgress, StageKind::Poll) } else { (ExportState::KickingOff, StageKind::KickOff) };
        exports::step(tx.db(), id, &[ExportState::Queued, ExportState::Authenticating], to).await?;
        if self.smart {
            exports::set_granted_scope(tx.db(), id, self.scope.as_deref()).await?;
            tx.tell(EventLevel::Info, "The authorization server gave an access token.").await?;
        }
        for finding in self.narrower.iter().take(MOST_TOLD) {
            tx.tell(EventLevel::Warning, &finding.message).await?;
        }
        tx.enqueue(&[NewStage::new(next)]).await?;
        Ok(Written::Done)
    }
}
