//! load: one part into its table, in one transaction that also says so in the part's row.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    blob::BlobError,
    db::{
        self,
        export_events::EventLevel,
        fhir,
        file_parts::{self, LoadCounts},
        rejected_lines,
    },
    domain::{
        failure::Reason,
        file::{ExportFile, FileKind, FilePart, PartState},
    },
    queue::{Fenced, Outcome, REPORT, StageError, Tail, Trouble, Written},
};
use sqlx::PgConnection;

use super::{Nothing, Stage, download::read_again};
use crate::{
    load::{
        careful,
        deletions::{self, Listed},
        fast::{self, Added, count},
        outcomes,
        prepare::{self, PartRead, Plan, Preparation},
        sieve::{Sieve, Sieved},
    },
    work::Work,
};

pub struct Load;

#[async_trait]
impl Stage for Load {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        let (part, file) = (work.part()?, work.file()?);
        if part.state == PartState::Loaded {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        match file.kind {
            FileKind::Output => {}
            FileKind::Error => return outcomes(work, part, file).await,
            FileKind::Deleted => return deletions(work, part, file).await,
        }
        let mut db = work.load_connection().await?;
        end_earlier_claims(&mut db, work).await?;
        let loaded = match fast_way(&mut db, work, part, file).await? {
            Some(loaded) => Some(loaded),
            None => attempt(&mut db, work, part, file, Way::Careful).await?,
        };
        match loaded {
            Some(Loaded { added, read: Some(read) }) if read.sha256 == part.sha256 => {
                let counts = counts(part, &added, read.sieved)?;
                Ok(Outcome::DoneIn(Box::new(db), Box::new(Counted { part_id: part.id, counts })))
            }
            // The blob is not what was stored.
            _ => Ok(lost(part, file)),
        }
    }
}

/// How a part is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Fast,
    Careful,
}

/// What is in the open transaction.
struct Loaded {
    added: Added,
    /// What was read; `None` if it could not be unpacked.
    read: Option<PartRead>,
}

/// A paused process in the middle of its COPY holds keys that ours would wait for, and nothing but this reaches it.
async fn end_earlier_claims(db: &mut PgConnection, work: &Work) -> Result<(), StageError> {
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1 AND pid <> pg_backend_pid()")
        .bind(format!("bh:{}:%", work.claim().stage_id))
        .execute(db)
        .await?;
    Ok(())
}

/// `None`: it must be loaded carefully, and nothing is in the database.
async fn fast_way(db: &mut PgConnection, work: &Work, part: &FilePart, file: &ExportFile) -> Result<Option<Loaded>, StageError> {
    // Duplicates were met in this type of this export before: the fast way would only fail.
    if file_parts::duplicates_met(db, work.export.id, file.resource_type.as_deref()).await? {
        return Ok(None);
    }
    let loaded = attempt(db, work, part, file, Way::Fast).await?;
    if loaded.is_none() {
        sqlx::query("ROLLBACK").execute(db).await?;
    }
    Ok(loaded)
}

/// Loads the part; the transaction stays open. `None`: the blob is gone, or the fast way was refused.
async fn attempt(db: &mut PgConnection, work: &Work, part: &FilePart, file: &ExportFile, way: Way) -> Result<Option<Loaded>, StageError> {
    let Some(blob) = open(work, part).await? else { return Ok(None) };
    let plan = Plan {
        export_id: work.export.id,
        part: part.clone(),
        expected_type: file.resource_type.clone(),
        sieve: Sieve::of(&work.export),
        staged: way == Way::Careful,
    };
    let mut preparation = Preparation::start(blob, plan, work.buffers());
    begin(db, work, part).await?;
    let added = match way {
        Way::Fast => fast::load(db, &mut preparation, work.export.id, part.id).await?,
        Way::Careful => Some(careful::load(db, &mut preparation, work.export.id, part.id).await?),
    };
    let Some(added) = added else { return Ok(None) };
    let read = preparation.end().await.map_err(unreadable)?;
    Ok(Some(Loaded { added, read }))
}

/// Opens the transaction. What an earlier load of this part left goes first.
async fn begin(db: &mut PgConnection, work: &Work, part: &FilePart) -> Result<(), StageError> {
    sqlx::query("BEGIN").execute(&mut *db).await?;
    rejected_lines::remove(db, part.id).await?;
    if part.ever_loaded {
        fhir::delete_parts(db, work.export.id, &[part.id]).await?;
    }
    Ok(())
}

/// Every line of the part is accounted for.
fn counts(part: &FilePart, added: &Added, sieved: Sieved) -> Result<LoadCounts, StageError> {
    let Sieved { headers, left_out, subsetted } = sieved;
    let lines = added.lines + headers + left_out;
    if lines != part.lines {
        // The bytes are those that were stored, and their lines are not: a defect of ours that must not end as "duplicates".
        let detail = format!("A part holds {} lines, and its load read {lines}.", part.lines);
        return Err(StageError::Retry(Trouble::new(Reason::Internal, detail, REPORT), None));
    }
    let duplicates = added.lines - added.rows - added.rejects;
    Ok(LoadCounts { rows: added.rows, duplicates, rejects: added.rejects, headers, left_out, subsetted, outcomes: None })
}

fn unreadable(error: impl std::fmt::Display) -> StageError {
    StageError::Again(error.to_string(), Duration::from_secs(30))
}

/// A part of an error file: its OperationOutcomes are summed up.
async fn outcomes(work: &Work, part: &FilePart, file: &ExportFile) -> Result<Outcome, StageError> {
    let Some(blob) = open(work, part).await? else { return Ok(lost(part, file)) };
    let thread = tokio::task::spawn_blocking(move || outcomes::summary(blob));
    let outcomes = match prepare::read(thread).await.map_err(unreadable)? {
        Some((outcomes, sha256)) if sha256 == part.sha256 => outcomes,
        _ => return Ok(lost(part, file)),
    };
    let counts = LoadCounts { rows: part.lines, outcomes: Some(outcomes), ..LoadCounts::default() };
    Ok(Outcome::Done(Box::new(Counted { part_id: part.id, counts })))
}

/// A part of a file of deletions: they are kept.
async fn deletions(work: &Work, part: &FilePart, file: &ExportFile) -> Result<Outcome, StageError> {
    let Some(blob) = open(work, part).await? else { return Ok(lost(part, file)) };
    let (first_line, byte_start) = (part.first_line, part.byte_start);
    let thread = tokio::task::spawn_blocking(move || deletions::read(blob, first_line, byte_start));
    match prepare::read(thread).await.map_err(unreadable)? {
        Some(listed) if listed.sha256 == part.sha256 => {
            Ok(Outcome::Done(Box::new(Deletions { part_id: part.id, lines: part.lines, listed })))
        }
        _ => Ok(lost(part, file)),
    }
}

/// `None`: it is gone.
async fn open(work: &Work, part: &FilePart) -> Result<Option<Box<dyn std::io::Read + Send>>, StageError> {
    match work.blobs().open(&part.blob_key).await {
        Ok(blob) => Ok(Some(blob)),
        Err(BlobError::Missing) => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

fn lost(part: &FilePart, file: &ExportFile) -> Outcome {
    Outcome::Done(Box::new(Lost { part_id: part.id, file_id: file.id }))
}

/// Counts of a part, in the transaction of its COPY.
struct Counted {
    part_id: i64,
    counts: LoadCounts,
}

#[async_trait]
impl Tail for Counted {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        if !file_parts::set_loaded(tx.db(), self.part_id, &self.counts).await? {
            // The part was replaced or lost meanwhile: what was copied must not stand.
            return Err(sqlx::Error::RowNotFound);
        }
        let rejects = self.counts.rejects;
        if rejects > 0 {
            tx.tell(EventLevel::Warning, &format!("Lines that could not be loaded: {rejects}; rejected_lines has them.")).await?;
        }
        Ok(Written::Done)
    }
}

struct Deletions {
    part_id: i64,
    lines: i64,
    listed: Listed,
}

#[async_trait]
impl Tail for Deletions {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        rejected_lines::remove(tx.db(), self.part_id).await?;
        rejected_lines::add(tx.db(), id, self.part_id, &self.listed.rejected).await?;
        db::deletions::replace(tx.db(), id, self.part_id, &self.listed.deletions).await?;
        let rejects = count(self.listed.rejected.len());
        let counts = LoadCounts { rows: self.lines - rejects, rejects, ..LoadCounts::default() };
        Counted { part_id: self.part_id, counts }.write(tx).await
    }
}

/// The part's blob is gone or broken: its file is read again.
struct Lost {
    part_id: i64,
    file_id: i64,
}

#[async_trait]
impl Tail for Lost {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        file_parts::set_lost(tx.db(), self.part_id).await?;
        read_again(tx, self.file_id).await?;
        tx.tell(EventLevel::Warning, "A downloaded part is gone from the blob store or broken; its file is read again.").await?;
        Ok(Written::Done)
    }
}
