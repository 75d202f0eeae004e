//! auth: makes sure that there is an access token, before anything is asked that cannot be asked twice.

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    domain::{export::ExportState, source, stage::StageKind},
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Written},
};

use super::{Nothing, Stage};
use crate::{fhir::auth, work::Work};

pub struct Auth;

#[async_trait]
impl Stage for Auth {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        if work.export.state == ExportState::Queued {
            work.checkpoint(&Authenticating).await?;
        }
        if work.source.auth == source::Auth::Smart {
            auth::token(work.http(), &work.tokens()).await?;
        }
        if work.export.manifest_pages > 0 {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        Ok(Outcome::Done(Box::new(Authenticated {
            resumed: work.export.status_url.is_some(),
            smart: work.source.auth == source::Auth::Smart,
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
}

#[async_trait]
impl Tail for Authenticated {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        let (to, next) =
            if self.resumed { (ExportState::InProgress, StageKind::Poll) } else { (ExportState::KickingOff, StageKind::KickOff) };
        exports::step(tx.db(), id, &[ExportState::Queued, ExportState::Authenticating], to).await?;
        if self.smart {
            tx.tell(EventLevel::Info, "The authorization server gave an access token.").await?;
        }
        tx.enqueue(&[NewStage::new(next)]).await?;
        Ok(Written::Done)
    }
}
