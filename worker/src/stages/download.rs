//! download: streams one file, cut on line borders into parts; each part is durable, and may load, before the next is read.
//! A re-run compares what it reads with the parts that are there and keeps those that are the same.

mod body;
pub mod pace;
mod reading;

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{
        export_events::EventLevel,
        export_files, fhir,
        file_parts::{self, NewPart},
    },
    domain::failure::Reason,
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Trouble, Written},
};

use self::reading::Reading;
pub use self::reading::not_kept;
use super::Stage;
use crate::work::Work;

/// A file whose parts vanish each time is given up after so many readings.
const MOST_READINGS: i32 = 20;
/// A count that does not match is read again this often before it is believed.
pub const DOUBT_COUNT: i32 = 3;

pub struct Download;

#[async_trait]
impl Stage for Download {
    fn time_limit(&self) -> Duration {
        Duration::from_secs(24 * 3600)
    }

    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        pace::wait_for_server(work)?;
        let mut reading = Reading::new(work, work.file_now().await?, work.parts().await?);
        let answer = reading.open().await?;
        let file = reading.read(answer).await?;
        // Headers of an organized file may or may not be counted: finish knows how many there are.
        let organized = work.export.ask.parameters.contains_key("organizeOutputBy");
        let fits = |reading: &Reading| organized || reading.file.expected_count.is_none_or(|expected| expected == file.lines);
        if !fits(&reading) && work.claim().attempt < DOUBT_COUNT {
            // Perhaps the count was wrong, and the manifest says another one now.
            match reading.refresh_links().await {
                // The server has forgotten the export; the file is here, and is judged by the count we have.
                Ok(()) | Err(StageError::Fail(_)) => {}
                Err(error) => return Err(error),
            }
            if !fits(&reading) {
                let expected = reading.file.expected_count.unwrap_or_default();
                let detail =
                    format!("File {} holds {} resources, the server announced {expected}; it is read again.", reading.file.n, file.lines);
                return Err(StageError::Retry(
                    Trouble::new(Reason::ServerError, detail, "if it stays so, ask the server's operator"),
                    None,
                ));
            }
        }
        pace::went_well(work).await?;
        Ok(Outcome::Done(Box::new(file)))
    }
}

/// A part is durable: it may load.
pub struct Kept {
    pub file_id: i64,
    pub file_n: i32,
    pub part: NewPart,
    pub replaces: bool,
}

#[async_trait]
impl Tail for Kept {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        // Before the part forgets what it counted.
        let unloaded = if self.replaces { unload_where_duplicates_were_met(tx, self.file_id).await? } else { Vec::new() };
        let part_id = file_parts::store(tx.db(), id, self.file_id, &self.part).await?;
        if self.replaces {
            // Its old rows go now: another part's load must not meet them.
            fhir::delete_parts(tx.db(), id, &[part_id]).await?;
            file_parts::restart_load(tx.db(), part_id).await?;
        }
        tx.enqueue(&[NewStage::load(self.file_id, part_id, self.file_n.saturating_add(self.part.n))]).await?;
        load_again(tx, &unloaded, &[part_id]).await?;
        // Only new parts are progress: a server whose file is another one at each reading must come to an end.
        if !self.replaces {
            tx.forget_attempts().await?;
        }
        Ok(Written::Done)
    }
}

/// The whole file is here.
pub struct Downloaded {
    pub file_id: i64,
    pub parts: i32,
    pub lines: i64,
    pub bytes: i64,
}

#[async_trait]
impl Tail for Downloaded {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        // It was longer when it was read before.
        if file_parts::of_file(tx.db(), self.file_id).await?.iter().any(|part| part.n >= self.parts) {
            let unloaded = unload_where_duplicates_were_met(tx, self.file_id).await?;
            let gone = file_parts::remove_from(tx.db(), self.file_id, self.parts).await?;
            fhir::delete_parts(tx.db(), id, &gone).await?;
            load_again(tx, &unloaded, &gone).await?;
            tx.tell(EventLevel::Warning, "A file became shorter since it was read before; the rows of its end were removed.").await?;
        }
        if file_parts::any_lost(tx.db(), self.file_id).await? {
            // Its load found the blob gone while we were reading on: once more, by this same row.
            read_again(tx, self.file_id).await?;
            return Ok(Written::Done);
        }
        export_files::set_downloaded(tx.db(), self.file_id, self.parts, self.lines, self.bytes).await?;
        Ok(Written::Done)
    }
}

/// A part is gone from the blob store: its file is pending again, unless parts vanish as often as they are read.
pub async fn read_again(tx: &mut Fenced<'_>, file_id: i64) -> sqlx::Result<()> {
    if tx.download_runs(file_id).await? >= MOST_READINGS {
        let error = "its parts vanish from BULK_DATA_DIR; is it the same folder for all workers?";
        return export_files::set_failed(tx.db(), file_id, error).await;
    }
    export_files::set_pending(tx.db(), file_id).await?;
    tx.restart_download(file_id).await
}

/// The rows of a part go when it gets other content. A row that had been merged over another part's would go with it, so all
/// parts of that type load again. Their rows go at once: the first to load must not be compared with what another still has.
async fn unload_where_duplicates_were_met(tx: &mut Fenced<'_>, file_id: i64) -> sqlx::Result<Vec<(i64, i64, i32)>> {
    let id = tx.export_id();
    let unloaded = file_parts::unload_duplicates(tx.db(), id, file_id, 0).await?;
    if !unloaded.is_empty() {
        let parts: Vec<i64> = unloaded.iter().map(|(_, part, _)| *part).collect();
        fhir::delete_parts(tx.db(), id, &parts).await?;
    }
    Ok(unloaded)
}

/// Loads for the unloaded parts, but for these.
async fn load_again(tx: &mut Fenced<'_>, unloaded: &[(i64, i64, i32)], but_not: &[i64]) -> sqlx::Result<()> {
    for (file, part, rank) in unloaded.iter().filter(|(_, part, _)| !but_not.contains(part)) {
        tx.enqueue(&[NewStage::load(*file, *part, *rank)]).await?;
    }
    Ok(())
}
