//! clean_up: the downloaded files of an export that has ended go after the retention, and once more a day later, for a
//! paused process may have written since. Of an export that is to be deleted everything goes, at once.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    domain::stage::StageKind,
    queue::{Fenced, NewStage, Outcome, Snooze, StageError, Tail, Written},
};

use super::Stage;
use crate::work::Work;

const A_DAY: Duration = Duration::from_secs(86_400);

pub struct CleanUp;

#[async_trait]
impl Stage for CleanUp {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        if work.export.delete_requested_at.is_some() {
            let rows = work.wipe().await?;
            tracing::info!(rows, "the export is deleted");
            return Ok(Outcome::Done(Box::new(Deleted)));
        }
        // Failed, and retried since: its files are needed.
        if !work.export.state.has_ended() {
            return Ok(Outcome::Snooze(Snooze { delay: A_DAY, progress: None }));
        }
        work.wipe_blobs().await?;
        Ok(Outcome::Done(Box::new(Cleaned)))
    }
}

struct Deleted;

#[async_trait]
impl Tail for Deleted {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        exports::delete(tx.db(), id).await?;
        Ok(Written::Done)
    }
}

struct Cleaned;

#[async_trait]
impl Tail for Cleaned {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        if exports::set_cleaned(tx.db(), id).await? {
            tx.tell(EventLevel::Info, "The downloaded files were removed.").await?;
            tx.enqueue(&[NewStage::new(StageKind::CleanUp).after(A_DAY.as_secs_f64())]).await?;
        }
        Ok(Written::Done)
    }
}
