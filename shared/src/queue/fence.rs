//! The fence: a stage's author writes through it or not at all.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    db::{
        export_events::{self, EventLevel, Teller},
        exports,
    },
    domain::{export::ExportState, failure::Reason},
};

use super::{
    Claim, NewStage, Tail,
    enqueue::{self},
    finish::Written,
};

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The stage was taken over, or its export cancelled or deleted: what this worker did no longer counts.
    #[error("the stage is no longer this worker's")]
    Lost,
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// A claim with what is needed to write under it.
#[derive(Debug, Clone)]
pub struct Fence {
    pub claim: Claim,
    /// For the story.
    pub worker_name: String,
    /// Attempts of the stages that follow.
    pub max_attempts: i32,
}

/// A transaction that holds the export's lock, in which the claim was seen to stand. Only this module makes one.
pub struct Fenced<'c> {
    db: &'c mut PgConnection,
    fence: &'c Fence,
    /// As it was when the lock was taken.
    pub state: ExportState,
}

impl Fence {
    /// Takes the export's lock, first of all locks (so that nothing deadlocks), and refuses when the export is gone
    /// or cancelled. The caller checks the stage's row next.
    pub(super) async fn enter<'c>(&'c self, db: &'c mut PgConnection) -> Result<Fenced<'c>, FinishError> {
        let state = sqlx::query_scalar!("SELECT state FROM bulkhead.exports WHERE id = $1 FOR NO KEY UPDATE", self.claim.export_id)
            .fetch_optional(&mut *db)
            .await?
            .ok_or(FinishError::Lost)?;
        let state: ExportState = state.parse().map_err(sqlx::Error::from)?;
        if state == ExportState::Cancelled && !self.claim.kind.follows_the_end() {
            return Err(FinishError::Lost);
        }
        Ok(Fenced { db, fence: self, state })
    }

    /// Writes in the middle of a stage's work, if the stage is still ours. Must be safe to write twice: a commit whose
    /// answer was lost is repeated.
    pub async fn checkpoint(&self, pool: &PgPool, tail: &dyn Tail) -> Result<(), FinishError> {
        let mut tx = pool.begin().await?;
        let mut fenced = self.enter(&mut tx).await?;
        let ours = sqlx::query!(
            "SELECT id FROM bulkhead.stages WHERE id = $1 AND claim_id = $2 AND state = 'running' FOR UPDATE",
            self.claim.stage_id,
            self.claim.claim_id
        )
        .fetch_optional(fenced.db())
        .await?;
        if ours.is_none() {
            return Err(FinishError::Lost);
        }
        match tail.write(&mut fenced).await? {
            Written::Done => tx.commit().await?,
            // A checkpoint cannot fail a stage: nothing is written, the stage's own outcome will say it.
            Written::Fail(..) => tx.rollback().await?,
        }
        Ok(())
    }
}

impl Fenced<'_> {
    /// The transaction.
    pub fn db(&mut self) -> &mut PgConnection {
        self.db
    }

    #[must_use]
    pub fn export_id(&self) -> Uuid {
        self.fence.claim.export_id
    }

    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.fence.claim
    }

    /// Enqueues stages of this export, all of one kind.
    pub async fn enqueue(&mut self, stages: &[NewStage]) -> sqlx::Result<()> {
        let claim = &self.fence.claim;
        enqueue::enqueue(self.db, claim.export_id, claim.source_id, self.fence.max_attempts, stages).await
    }

    /// This attempt has got somewhere that lasts: the attempts before it no longer count.
    pub async fn forget_attempts(&mut self) -> sqlx::Result<()> {
        sqlx::query!("UPDATE bulkhead.stages SET attempt = 1 WHERE id = $1", self.fence.claim.stage_id).execute(&mut *self.db).await?;
        Ok(())
    }

    /// The download or search of this stage's file runs again, although it was done.
    pub async fn restart_download(&mut self, file_id: i64) -> sqlx::Result<()> {
        sqlx::query!(
            "UPDATE bulkhead.stages
                SET state = 'ready', claim_id = NULL, ticketed_at = NULL, attempt = 0, next_run_at = clock_timestamp(), finished_at = NULL
              WHERE export_id = $1 AND file_id = $2 AND kind IN ('download', 'search') AND state IN ('done', 'dead')",
            self.fence.claim.export_id,
            file_id
        )
        .execute(&mut *self.db)
        .await?;
        Ok(())
    }

    /// How often a file's download or search has begun, over all retries.
    pub async fn download_runs(&mut self, file_id: i64) -> sqlx::Result<i32> {
        sqlx::query_scalar!(
            r#"SELECT coalesce(max(runs), 0) AS "runs!" FROM bulkhead.stages WHERE export_id = $1 AND file_id = $2 AND kind IN ('download', 'search')"#,
            self.fence.claim.export_id,
            file_id
        )
        .fetch_one(&mut *self.db)
        .await
    }

    /// Adds a sentence to the export's story.
    pub async fn tell(&mut self, level: EventLevel, message: &str) -> sqlx::Result<()> {
        self.tell_of(level, None, message).await
    }

    /// The same of a failure of this class.
    pub(super) async fn tell_of(&mut self, level: EventLevel, reason: Option<Reason>, message: &str) -> sqlx::Result<()> {
        let teller = Teller {
            stage: Some(self.fence.claim.kind),
            attempt: Some(self.fence.claim.attempt),
            worker: Some(self.fence.worker_name.clone()),
            reason,
        };
        export_events::tell(self.db, self.fence.claim.export_id, &teller, level, message).await
    }

    /// Is the export loading now, is it time to finish? Adds `finish` when nothing is left to ask for, to download or to load.
    pub async fn settle(&mut self) -> sqlx::Result<()> {
        let export_id = self.export_id();
        exports::step_to_loading(self.db(), export_id).await?;
        enqueue::fan_in(self.db, self.fence.claim.export_id, self.fence.max_attempts).await
    }
}
