//! What a stage may see and do while it works: its rows as they were when it was claimed, checkpoints through the fence,
//! the FHIR server. It has no way to write to the queue's tables past the fence.

use std::{sync::Arc, time::Duration};

use bulkhead_shared::{
    blob::Blobs,
    config::{BlobSettings, LimitSettings, RetrySettings, SearchSettings},
    db::{
        self, access_tokens,
        cool_downs::{self, CoolDown},
        export_files, exports, fhir, file_parts, orphan_exports, sources, summaries,
    },
    domain::{
        export::{Ask, Export},
        file::{ExportFile, FilePart},
        finding::Finding,
        search::{Cursor, Search},
        source::{Discovered, Source},
    },
    queue::{Claim, Fence, FinishError, StageError, Tail},
    secrets::Cipher,
};
use sqlx::{PgConnection, PgPool};

use crate::{environment::Environment, fhir::http::Http, load::buffers::Buffers, polls::Rows, stages::Nothing};

/// One attempt of one stage.
pub struct Work {
    env: Arc<Environment>,
    fence: Fence,
    pub export: Export,
    pub source: Source,
    file: Option<ExportFile>,
    part: Option<FilePart>,
}

impl Work {
    /// Reads the rows of a claim.
    pub async fn of(env: &Arc<Environment>, fence: &Fence) -> Result<Self, StageError> {
        let claim = &fence.claim;
        let export = exports::get(&env.pool, claim.export_id).await?.ok_or(StageError::Lost)?;
        let source = sources::get(&env.pool, claim.source_id).await?;
        let file = match claim.file_id {
            Some(id) => Some(export_files::get(&env.pool, id).await?.ok_or(StageError::Lost)?),
            None => None,
        };
        let part = match claim.part_id {
            Some(id) => Some(file_parts::get(&env.pool, id).await?.ok_or(StageError::Lost)?),
            None => None,
        };
        Ok(Self { env: Arc::clone(env), fence: fence.clone(), export, source, file, part })
    }

    /// The same for a stage of an export as a whole, whose rows were read already.
    pub fn with(env: &Arc<Environment>, fence: &Fence, rows: Rows) -> Self {
        Self { env: Arc::clone(env), fence: fence.clone(), export: rows.export, source: rows.source, file: None, part: None }
    }

    pub fn claim(&self) -> &Claim {
        &self.fence.claim
    }

    /// The file of a download or load.
    pub fn file(&self) -> Result<&ExportFile, StageError> {
        self.file.as_ref().ok_or(StageError::Lost)
    }

    /// The part of a load.
    pub fn part(&self) -> Result<&FilePart, StageError> {
        self.part.as_ref().ok_or(StageError::Lost)
    }

    pub fn http(&self) -> &Http {
        &self.env.http
    }

    pub fn blobs(&self) -> &Blobs {
        &self.env.blobs
    }

    pub fn buffers(&self) -> Buffers {
        self.env.buffers.clone()
    }

    pub fn retry(&self) -> &RetrySettings {
        &self.env.retry
    }

    pub fn limits(&self) -> &LimitSettings {
        &self.env.limits
    }

    pub fn blob_settings(&self) -> &BlobSettings {
        &self.env.blob_settings
    }

    /// What was found before the end.
    pub async fn early_findings(&self) -> Result<Vec<Finding>, StageError> {
        Ok(exports::early_findings(&self.env.pool, self.export.id).await?)
    }

    pub fn search_settings(&self) -> &SearchSettings {
        &self.env.search
    }

    /// All that its export searches for so far.
    pub async fn searches(&self) -> Result<Vec<Search>, StageError> {
        Ok(export_files::searches::all(&self.env.pool, self.export.id).await?)
    }

    /// What this stage's file is searched for by, and where that stands now.
    pub async fn search_now(&self) -> Result<(Search, Cursor), StageError> {
        export_files::searches::get(&self.env.pool, self.file()?.id).await?.ok_or(StageError::Lost)
    }

    /// Commits something in the middle of the work, if the stage is still ours. Waits while Postgres is away.
    pub async fn checkpoint(&self, tail: &dyn Tail) -> Result<(), StageError> {
        loop {
            let error = match self.fence.checkpoint(&self.env.pool, tail).await {
                Ok(()) => return Ok(()),
                Err(FinishError::Lost) => return Err(StageError::Lost),
                Err(FinishError::Sql(error)) => error,
            };
            // Also after a deadlock: checkpoints are safe to repeat, and what was read so far is not read again.
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            if !db::is_away(&error) && !matches!(code.as_deref(), Some("40P01" | "40001")) {
                return Err(error.into());
            }
            tracing::info!(%error, "the checkpoint is written again");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The parts of this stage's file that are stored already.
    pub async fn parts(&self) -> Result<Vec<FilePart>, StageError> {
        Ok(file_parts::of_file(&self.env.pool, self.file()?.id).await?)
    }

    /// Whether a part's row names this blob.
    pub async fn is_blob_known(&self, key: &str) -> Result<bool, StageError> {
        Ok(file_parts::is_blob_known(&self.env.pool, key).await?)
    }

    /// This stage's file as it is now.
    pub async fn file_now(&self) -> Result<ExportFile, StageError> {
        export_files::get(&self.env.pool, self.file()?.id).await?.ok_or(StageError::Lost)
    }

    /// A connection of its own for a load's COPY, named so that the next claim can find and end it.
    pub async fn load_connection(&self) -> Result<PgConnection, StageError> {
        let claim = self.claim();
        let name = format!("bh:{}:{}", claim.stage_id, &claim.claim_id.to_string()[..8]);
        self.env.loads.take(&name).await.map_err(StageError::from)
    }

    /// Takes back a connection whose transaction has ended.
    pub async fn give_back(&self, connection: PgConnection) {
        self.env.loads.give_back(connection).await;
    }

    /// Whether this export has a summary of its present end.
    pub async fn is_summarised(&self) -> Result<bool, StageError> {
        let exports = summaries::of(&self.env.pool, &[self.export.id]).await?;
        Ok(exports.first().is_some_and(|export| export.summary_id.is_some()))
    }

    /// Whether a load of this export runs, whoever runs it.
    pub async fn has_running_loads(&self) -> Result<bool, StageError> {
        Ok(summaries::loads_run(&self.env.pool, self.export.id).await?)
    }

    /// Removes all FHIR rows and blobs of this export; says how many rows.
    pub async fn wipe(&self) -> Result<u64, StageError> {
        let rows = fhir::delete_export(&self.env.pool, self.export.id, self.claim().stage_id, self.claim().claim_id).await?;
        // Taken over meanwhile: the blobs are the successor's.
        self.checkpoint(&Nothing).await?;
        self.wipe_blobs().await?;
        Ok(rows)
    }

    /// Removes all blobs of this export; says whether there were any.
    pub async fn wipe_blobs(&self) -> Result<bool, StageError> {
        self.blobs().delete_export(self.export.id).await.map_err(|e| StageError::Again(e.to_string(), Duration::from_secs(60)))
    }

    /// The server refused a file as one too many. The source's row is changed outside the fence: what the server said holds for
    /// all its exports, whoever this stage belongs to by now. Says how many downloads there may be at once, if that changed.
    pub async fn slow_down(&self, pause: Duration) -> Option<i32> {
        sources::slow_down(&self.env.pool, self.source.id, pause).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the source was not slowed down");
            None
        })
    }

    /// A file went well. Costs nothing while the source is not slowed down.
    pub async fn speed_up(&self) -> Option<i32> {
        if !self.source.slowed_down {
            return None;
        }
        sources::speed_up(&self.env.pool, self.source.id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the source was not sped up");
            None
        })
    }

    /// A status URL that came too late to be kept in its export.
    pub async fn orphan(&self, status_url: &str) -> Result<(), StageError> {
        while let Err(error) = orphan_exports::add(&self.env.pool, self.source.id, self.export.id, status_url).await {
            if !db::is_away(&error) {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// Whether this export's operation must not be asked for yet.
    pub async fn cool_down(&self) -> Result<Option<CoolDown>, StageError> {
        Ok(cool_downs::current(&self.env.pool, self.source.id, &self.export.ask.operation()).await?)
    }

    /// Access to the token store, which has rows of its own.
    pub fn tokens(&self) -> Tokens<'_> {
        self.tokens_of(&self.source)
    }

    /// The same, of the source as it is known by now.
    pub fn tokens_of<'w>(&'w self, source: &'w Source) -> Tokens<'w> {
        Tokens { pool: &self.env.pool, cipher: &self.env.cipher, source, ask: Some(&self.export.ask) }
    }

    /// What the server told about itself, kept outside the fence: it holds for all exports of the source.
    /// Other servers at which this source's key is used with a token endpoint.
    pub async fn others_with_endpoint(&self, endpoint: &str) -> Result<Vec<String>, StageError> {
        Ok(sources::others_with_endpoint(&self.env.pool, self.source.id, endpoint).await?)
    }

    pub async fn set_discovered(&self, found: &Discovered) -> Result<(), StageError> {
        Ok(sources::set_discovered(&self.env.pool, self.source.id, found).await?)
    }
}

/// The access token of a source: reads and writes its row only.
pub struct Tokens<'w> {
    pool: &'w PgPool,
    cipher: &'w Cipher,
    pub source: &'w Source,
    /// What the token is for; nothing in particular without it.
    pub ask: Option<&'w Ask>,
}

impl<'w> Tokens<'w> {
    pub fn new(pool: &'w PgPool, cipher: &'w Cipher, source: &'w Source) -> Self {
        Self { pool, cipher, source, ask: None }
    }

    pub async fn secret(&self) -> Result<Vec<u8>, StageError> {
        use bulkhead_shared::{domain::failure::Reason, queue::Trouble};
        let secret = sources::secret(self.pool, self.cipher, self.source.id).await?;
        match secret {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(StageError::Fail(Trouble::new(
                Reason::Internal,
                "The source has no credentials.",
                "submit the export again with its credentials",
            ))),
            Err(error) => Err(StageError::Fail(Trouble::new(
                Reason::Internal,
                format!("The source's credentials cannot be opened: {error}."),
                "start the worker with the secret key they were sealed with, or submit the export again with its credentials",
            ))),
        }
    }

    pub async fn current(&self) -> Result<Option<access_tokens::AccessToken>, StageError> {
        Ok(access_tokens::current(self.pool, self.cipher, self.source.id).await?)
    }

    pub async fn take_minting(&self, minter: uuid::Uuid) -> Result<Option<access_tokens::Minting>, StageError> {
        Ok(access_tokens::take_minting(self.pool, self.cipher, self.source.id, minter).await?)
    }

    pub async fn store(&self, minter: uuid::Uuid, version: i64, new: &access_tokens::NewToken<'_>) -> Result<bool, StageError> {
        Ok(access_tokens::store(self.pool, self.cipher, self.source.id, minter, version, new).await?)
    }

    pub async fn give_up_minting(&self, minter: uuid::Uuid) -> Result<(), StageError> {
        Ok(access_tokens::give_up_minting(self.pool, self.source.id, minter).await?)
    }

    pub async fn invalidate(&self, version: i64) -> Result<(), StageError> {
        Ok(access_tokens::invalidate(self.pool, self.source.id, version).await?)
    }
}
