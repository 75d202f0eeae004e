//! COPY FROM STDIN in binary ("COPY", "Binary Format").

use std::ops::Range;

use sqlx::{PgConnection, postgres::PgCopyIn};

use super::{chunk::Chunk, table::Table};

/// What goes to Postgres at once.
const PIECE: usize = 256 << 10;
const SIGNATURE: &[u8] = b"PGCOPY\n\xFF\r\n\0\0\0\0\0\0\0\0\0";

/// An open COPY into one table.
pub struct Copy<'c> {
    wire: PgCopyIn<&'c mut PgConnection>,
    piece: Vec<u8>,
}

impl<'c> Copy<'c> {
    /// Into a FHIR table.
    pub async fn into_table(db: &'c mut PgConnection, table: Table) -> sqlx::Result<Self> {
        Self::open(db, &format!("COPY fhir.{} ({}) FROM STDIN (FORMAT binary)", table.name, table.columns())).await
    }

    /// Into a staging table, whose first column is the line.
    pub async fn into_staging(db: &'c mut PgConnection, staging: &str, table: Table) -> sqlx::Result<Self> {
        Self::open(db, &format!("COPY {staging} (line, {}) FROM STDIN (FORMAT binary)", table.columns())).await
    }

    async fn open(db: &'c mut PgConnection, statement: &str) -> sqlx::Result<Self> {
        let wire = db.copy_in_raw(statement).await?;
        let mut piece = Vec::with_capacity(PIECE + (64 << 10));
        piece.extend_from_slice(SIGNATURE);
        Ok(Self { wire, piece })
    }

    /// Sends some rows of a chunk.
    pub async fn send(&mut self, chunk: &Chunk, rows: Range<usize>) -> sqlx::Result<()> {
        for n in rows {
            self.piece.extend_from_slice(chunk.row(n));
            if self.piece.len() >= PIECE {
                self.wire.send(self.piece.as_slice()).await?;
                self.piece.clear();
            }
        }
        Ok(())
    }

    /// Returns how many rows Postgres took. An error leaves the transaction aborted.
    pub async fn finish(mut self) -> sqlx::Result<u64> {
        self.piece.extend_from_slice(&(-1i16).to_be_bytes());
        self.wire.send(self.piece.as_slice()).await?;
        self.wire.finish().await
    }
}
