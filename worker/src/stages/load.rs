//! load: one part into its table, in one transaction that also says so in the part's row.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bulkhead_shared::{
    blob::BlobError,
    db::{
        export_events::EventLevel,
        fhir,
        file_parts::{self, LoadCounts},
        rejected_lines::{self, Rejected},
    },
    domain::file::{FileKind, FilePart, PartState},
    queue::{Fenced, Outcome, StageError, Tail, Written},
};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::{Nothing, Stage, download::read_again};
use crate::{
    load::{
        careful,
        copy::{self, Target},
        cutter::resources,
        guard::{self, Row},
        outcomes,
        table::Table,
    },
    work::Work,
};

pub struct Load;

#[async_trait]
impl Stage for Load {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        let part = work.part()?;
        let file = work.file()?;
        if part.state == PartState::Loaded {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        let bytes = match work.blobs().get(&part.blob_key).await {
            Ok(bytes) if Sha256::digest(&bytes)[..] == part.sha256[..] => bytes,
            Ok(_) | Err(BlobError::Missing) => return Ok(Outcome::Done(Box::new(Lost { part_id: part.id, file_id: file.id }))),
            Err(error) => return Err(StageError::Again(error.to_string(), Duration::from_secs(30))),
        };
        if file.kind != FileKind::Output {
            let outcomes = (file.kind == FileKind::Error).then(|| outcomes::summary(&bytes));
            let counts = LoadCounts { rows: part.lines, outcomes, ..LoadCounts::default() };
            return Ok(Outcome::Done(Box::new(Loaded { part_id: part.id, counts, rejected: Vec::new() })));
        }
        let (tables, mut rejected) = guarded(part, &bytes, file.resource_type.as_deref());
        let mut db = work.load_connection().await?;
        end_earlier_claims(&mut db, work).await?;
        let mut loaded = if needs_care(&mut db, work).await? { None } else { fast(&mut db, work, part, &tables).await? };
        if loaded.is_none() {
            let (added, refused) = with_care(&mut db, work, part, &tables).await?;
            rejected.extend(refused);
            loaded = Some(added);
        }
        let rows = loaded.unwrap_or_default();
        let rejects = i64::try_from(rejected.len()).unwrap_or(i64::MAX);
        let counts = LoadCounts { rows, duplicates: part.lines - rows - rejects, rejects, outcomes: None };
        Ok(Outcome::DoneIn(Box::new(db), Box::new(Loaded { part_id: part.id, counts, rejected })))
    }
}

/// The part's lines by table, sorted by id; and those that the guard refused.
fn guarded<'b>(part: &FilePart, bytes: &'b [u8], expected_type: Option<&str>) -> (BTreeMap<Table, Vec<Row<'b>>>, Vec<Rejected>) {
    let mut tables: BTreeMap<Table, Vec<Row>> = BTreeMap::new();
    let mut rejected = Vec::new();
    for (line, byte, text) in resources(bytes) {
        let line = part.first_line + line + 1;
        let byte_start = part.byte_start + i64::try_from(byte).unwrap_or(0);
        match guard::check(text, expected_type) {
            Ok(fields) => {
                let table = Table::of(&fields.resource_type);
                tables.entry(table).or_default().push(Row { line, byte_start, text, fields });
            }
            Err(reason) => rejected.push(Rejected { line, reason, bytes: text.to_vec(), byte_start }),
        }
    }
    for rows in tables.values_mut() {
        rows.sort_unstable_by(|a, b| a.fields.id.as_bytes().cmp(b.fields.id.as_bytes()));
    }
    (tables, rejected)
}

/// A paused process in the middle of its COPY holds keys that ours would wait for, and nothing but this reaches it.
async fn end_earlier_claims(db: &mut PgConnection, work: &Work) -> Result<(), StageError> {
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1 AND pid <> pg_backend_pid()")
        .bind(format!("bh:{}:%", work.claim().stage_id))
        .execute(db)
        .await?;
    Ok(())
}

/// Duplicates were met in this type of this export before: the fast way would only fail.
async fn needs_care(db: &mut PgConnection, work: &Work) -> Result<bool, StageError> {
    Ok(file_parts::duplicates_met(db, work.export.id, work.file()?.resource_type.as_deref()).await?)
}

/// One COPY a table. `None`: Postgres refused something, everything was rolled back.
async fn fast(
    db: &mut PgConnection,
    work: &Work,
    part: &FilePart,
    tables: &BTreeMap<Table, Vec<Row<'_>>>,
) -> Result<Option<i64>, StageError> {
    begin(db, work, part).await?;
    let mut added = 0;
    for (table, rows) in tables {
        let target = Target { table: *table, export_id: work.export.id, part_id: part.id, staging: None };
        let rows: Vec<&Row> = rows.iter().collect();
        match copy::rows(db, target, &rows).await {
            Ok(n) => added += i64::try_from(n).unwrap_or(i64::MAX),
            Err(error) if careful::refusal(&error).is_some() || is_duplicate(&error) => {
                sqlx::query("ROLLBACK").execute(db).await?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(added))
}

/// The careful way; the transaction stays open.
async fn with_care(
    db: &mut PgConnection,
    work: &Work,
    part: &FilePart,
    tables: &BTreeMap<Table, Vec<Row<'_>>>,
) -> Result<(i64, Vec<Rejected>), StageError> {
    begin(db, work, part).await?;
    let mut added = 0;
    let mut rejected = Vec::new();
    for (table, rows) in tables {
        let target = Target { table: *table, export_id: work.export.id, part_id: part.id, staging: None };
        let rows: Vec<&Row> = rows.iter().collect();
        let merged = careful::load(db, target, &rows).await?;
        added += merged.added;
        rejected.extend(merged.rejected);
    }
    Ok((added, rejected))
}

/// Opens the transaction. Rows of an earlier load of this part go first.
async fn begin(db: &mut PgConnection, work: &Work, part: &FilePart) -> Result<(), StageError> {
    sqlx::query("BEGIN").execute(&mut *db).await?;
    if part.ever_loaded {
        fhir::delete_parts(db, work.export.id, &[part.id]).await?;
    }
    Ok(())
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "23505")
}

/// Rows, counts and rejects of a part, in the transaction of its COPY.
struct Loaded {
    part_id: i64,
    counts: LoadCounts,
    rejected: Vec<Rejected>,
}

#[async_trait]
impl Tail for Loaded {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        rejected_lines::replace(tx.db(), id, self.part_id, &self.rejected).await?;
        if !file_parts::set_loaded(tx.db(), self.part_id, &self.counts).await? {
            // The part was replaced or lost meanwhile: what was copied must not stand.
            return Err(sqlx::Error::RowNotFound);
        }
        if !self.rejected.is_empty() {
            tx.tell(EventLevel::Warning, &format!("Lines that could not be loaded: {}; rejected_lines has them.", self.rejected.len()))
                .await?;
        }
        Ok(Written::Done)
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
