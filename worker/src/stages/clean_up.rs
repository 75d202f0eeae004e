//! clean_up: the downloaded files of an export that has ended go after the retention, and once more a day later, for a
//! paused process may have written since. Of an export that is to be deleted everything goes, at once.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports, orphan_exports},
    domain::stage::StageKind,
    queue::{Fenced, NewStage, Outcome, Snooze, StageError, Tail, Written},
};
use uuid::Uuid;

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
            let export = &work.export;
            let unreleased = if export.released_at.is_none() { export.status_urls().map(str::to_owned).collect() } else { Vec::new() };
            return Ok(Outcome::Done(Box::new(Deleted { source_id: work.source.id, unreleased })));
        }
        // Failed, and retried since: its files are needed.
        if !work.export.state.has_ended() {
            return Ok(Outcome::Snooze(Snooze { delay: A_DAY, progress: None }));
        }
        work.wipe_blobs().await?;
        Ok(Outcome::Done(Box::new(Cleaned)))
    }
}

struct Deleted {
    source_id: Uuid,
    /// Status URLs that their server was not told to forget, as far as was known.
    unreleased: Vec<String>,
}

#[async_trait]
impl Tail for Deleted {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        // Its release goes with the export, wherever that stands: housekeeping lets the server's export go.
        for status_url in &self.unreleased {
            orphan_exports::add(tx.db(), self.source_id, id, status_url).await?;
        }
        exports::delete(tx.db(), id).await?;
        Ok(Written::Done)
    }
}

struct Cleaned;

#[async_trait]
impl Tail for Cleaned {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        if exports::get(tx.db(), id).await?.is_some_and(|export| export.delete_requested_at.is_some()) {
            // Asked for while the blobs were being removed: now the rest.
            tx.enqueue(&[NewStage::new(StageKind::CleanUp)]).await?;
            return Ok(Written::Done);
        }
        if exports::set_cleaned(tx.db(), id).await? {
            tx.tell(EventLevel::Info, "The downloaded files were removed.").await?;
            tx.enqueue(&[NewStage::new(StageKind::CleanUp).after(A_DAY.as_secs_f64())]).await?;
        }
        Ok(Written::Done)
    }
}
