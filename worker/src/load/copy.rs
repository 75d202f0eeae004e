//! COPY FROM STDIN in binary, in pieces, the rows sorted by id: sorted keys make the primary key cheap.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{guard::Row, table::Table};

/// What goes to Postgres at once.
const PIECE: usize = 256 << 10;
const SIGNATURE: &[u8] = b"PGCOPY\n\xFF\r\n\0\0\0\0\0\0\0\0\0";

/// Where rows go.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub table: Table,
    pub export_id: Uuid,
    pub part_id: i64,
    /// A staging table instead, whose first column is the line.
    pub staging: Option<&'a str>,
}

impl Target<'_> {
    fn statement(&self) -> String {
        match self.staging {
            Some(staging) => format!("COPY {staging} (line, {}) FROM STDIN (FORMAT binary)", self.table.columns()),
            None => format!("COPY fhir.{} ({}) FROM STDIN (FORMAT binary)", self.table.name, self.table.columns()),
        }
    }
}

/// Copies rows; returns how many Postgres took. An error leaves the transaction aborted.
pub async fn rows(db: &mut PgConnection, target: Target<'_>, rows: &[&Row<'_>]) -> sqlx::Result<u64> {
    let mut copy = db.copy_in_raw(&target.statement()).await?;
    let mut piece = Vec::with_capacity(PIECE + (64 << 10));
    piece.extend_from_slice(SIGNATURE);
    for row in rows {
        target.table.encode(row, target.export_id, target.part_id, target.staging.is_some(), &mut piece);
        if piece.len() >= PIECE {
            copy.send(piece.as_slice()).await?;
            piece.clear();
        }
    }
    piece.extend_from_slice(&(-1i16).to_be_bytes());
    copy.send(piece.as_slice()).await?;
    copy.finish().await
}
