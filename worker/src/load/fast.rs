//! The fast way: chunks go to their table as they are ready, in one COPY as long as the table stays the same.

use bulkhead_shared::db::rejected_lines;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    careful,
    copy::Copy,
    prepare::{Preparation, Prepared},
};

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Resources that were read, loaded or not.
    pub lines: i64,
    /// New rows.
    pub rows: i64,
    pub rejects: i64,
}

impl Added {
    /// Lines that the guard or Postgres refused.
    pub fn refuse(&mut self, lines: usize) {
        self.rejects += count(lines);
        self.lines += count(lines);
    }
}

/// A number of lines, as Postgres counts them.
pub fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Loads a part inside a transaction. `None`: Postgres refused a row, or has it already; the transaction is aborted.
pub async fn load(db: &mut PgConnection, preparation: &mut Preparation, export_id: Uuid, part_id: i64) -> sqlx::Result<Option<Added>> {
    match copy_all(db, preparation, export_id, part_id).await {
        Ok(added) if added.rows + added.rejects == added.lines => Ok(Some(added)),
        // COPY counts otherwise than we do: the careful way tells rows from duplicates.
        Ok(_) => Ok(None),
        Err(error) if careful::refusal(&error).is_some() || is_duplicate(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn copy_all(db: &mut PgConnection, preparation: &mut Preparation, export_id: Uuid, part_id: i64) -> sqlx::Result<Added> {
    let mut added = Added::default();
    let mut next = preparation.ready.recv().await;
    while let Some(prepared) = next {
        match prepared {
            Prepared::Rows(mut chunk) => {
                let mut copy = Copy::into_table(db, chunk.table).await?;
                next = loop {
                    copy.send(&chunk, 0..chunk.len()).await?;
                    added.lines += count(chunk.len());
                    let table = chunk.table;
                    // Its memory goes before the next is asked for.
                    drop(chunk);
                    match preparation.ready.recv().await {
                        Some(Prepared::Rows(following)) if following.table == table => chunk = following,
                        other => break other,
                    }
                };
                added.rows += i64::try_from(copy.finish().await?).unwrap_or(i64::MAX);
            }
            Prepared::Rejected(lines) => {
                rejected_lines::add(db, export_id, part_id, &lines).await?;
                added.refuse(lines.len());
                next = preparation.ready.recv().await;
            }
        }
    }
    Ok(added)
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "23505")
}
