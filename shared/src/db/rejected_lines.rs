//! Table `rejected_lines`: what could not become a row, kept.

use sqlx::PgConnection;
use uuid::Uuid;

/// A line and why it is not a row. The reason holds no content of the line.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// In its file, from 1.
    pub line: i64,
    pub reason: String,
    pub bytes: Vec<u8>,
    /// Where it stands in its file, uncompressed.
    pub byte_start: i64,
}

/// Adds lines of a part.
pub async fn add(db: &mut PgConnection, export_id: Uuid, part_id: i64, lines: &[Rejected]) -> sqlx::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = lines.iter().map(|l| l.line).collect();
    let reasons: Vec<&str> = lines.iter().map(|l| l.reason.as_str()).collect();
    let bytes: Vec<&[u8]> = lines.iter().map(|l| l.bytes.as_slice()).collect();
    let starts: Vec<i64> = lines.iter().map(|l| l.byte_start).collect();
    sqlx::query!(
        "INSERT INTO bulkhead.rejected_lines (export_id, part_id, line, reason, bytes, byte_start)
         SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::bytea[], $6::bigint[])",
        export_id,
        part_id,
        &numbers,
        &reasons as &[&str],
        &bytes as &[&[u8]],
        &starts
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes what an earlier load of this part rejected.
pub async fn remove(db: &mut PgConnection, part_id: i64) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM bulkhead.rejected_lines WHERE part_id = $1", part_id).execute(db).await?;
    Ok(())
}
