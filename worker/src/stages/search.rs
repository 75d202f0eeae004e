//! search: reads a search page by page (FHIR R4, "Search", "Paging") into the parts of its file. A part ends with a page, and stores
//! with itself which page is next: a search that was killed goes on there.

mod asking;
mod doubts;
mod paging;
mod part;

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{
        export_events::EventLevel,
        export_files::searches::{self, NewSearch},
        exports,
    },
    domain::{
        failure::Reason,
        finding::{Finding, FindingKind, Severity},
        search::{self, Cursor},
    },
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Trouble, Written},
};

use self::paging::Paging;
use super::{
    Stage,
    download::{DOUBT_COUNT, Downloaded, Kept, pace},
};
use crate::work::Work;

pub struct Search;

#[async_trait]
impl Stage for Search {
    fn time_limit(&self) -> Duration {
        Duration::from_secs(24 * 3600)
    }

    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        pace::wait_for_server(work)?;
        let mut paging = Paging::of(work).await?;
        let downloaded = paging.read().await?;
        let seen = &paging.cursor.seen;
        if seen.is_doubtful() && work.claim().attempt < DOUBT_COUNT {
            let announced = seen.announced().map_or_else(|| "no number".to_owned(), |total| total.to_string());
            let detail = format!(
                "Search {} found {} resources of type {}, {} of them twice; the server announced {announced}; it is made again.",
                paging.file.n, seen.matches, paging.search.resource_type, seen.repeated
            );
            paging.begin_anew().await?;
            return Err(StageError::Retry(Trouble::new(Reason::ServerError, detail, "if it stays so, ask the server's operator"), None));
        }
        pace::went_well(work).await?;
        Ok(Outcome::Done(Box::new(downloaded)))
    }
}

/// The pages up to the cursor are stored.
struct Stored {
    file_id: i64,
    /// With the part that they made, unless it was there already or they held nothing.
    part: Option<Kept>,
    cursor: Cursor,
    /// Resources of other types are among them.
    mixed: bool,
}

#[async_trait]
impl Tail for Stored {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        if self.mixed {
            searches::set_mixed(tx.db(), self.file_id).await?;
        }
        if let Some(part) = &self.part {
            part.write(tx).await?;
        }
        searches::set_cursor(tx.db(), self.file_id, &self.cursor).await?;
        Ok(Written::Done)
    }
}

/// It begins with its first page again.
struct BegunAnew {
    file_id: i64,
    cursor: Cursor,
    told: Option<String>,
}

#[async_trait]
impl Tail for BegunAnew {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        searches::set_cursor(tx.db(), self.file_id, &self.cursor).await?;
        if let Some(told) = &self.told {
            tx.tell(EventLevel::Warning, told).await?;
        }
        Ok(Written::Done)
    }
}

/// Too many patients at once for the server: this search keeps the first of them, new ones have the others.
struct Split {
    file_id: i64,
    first: search::Search,
    others: Vec<NewSearch>,
    told: String,
    why: &'static str,
}

/// Why a search is made again, a patient at a time. Others may have met the same without any sign: their first patient has nothing.
const ONE_ONLY: &str = "The server answers a search for several patients with the resources of one of them";

#[async_trait]
impl Tail for Split {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        searches::narrow(tx.db(), self.file_id, &self.first).await?;
        // Written before, by a commit whose answer was lost: then the others are there.
        let added = searches::add(tx.db(), id, &self.others).await?;
        if !added.is_empty() {
            tx.tell(EventLevel::Info, &self.told).await?;
            if self.why == ONE_ONLY {
                exports::add_finding(tx.db(), id, &one_only()).await?;
            }
        }
        let stages: Vec<NewStage> = added.iter().map(|(file, n)| NewStage::search(*file, *n)).collect();
        tx.enqueue(&stages).await?;
        Ok(Written::Done)
    }
}

fn one_only() -> Finding {
    Finding {
        severity: Severity::Error,
        kind: FindingKind::ListNotApplied,
        resource_type: None,
        file: None,
        message: format!("{ONE_ONLY}: others may be missing. A retry searches for each patient by itself."),
    }
}

/// Where a file ends.
fn downloaded(file_id: i64, end: crate::load::cutter::Cut) -> Downloaded {
    Downloaded { file_id, parts: end.n, lines: end.lines, bytes: end.byte_start }
}
