//! Table `rejected_lines`: what could not become a row, kept.

use sqlx::{PgConnection, PgExecutor};
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

/// A line as its export's page shows it.
#[derive(Debug)]
pub struct Listed {
    pub id: i64,
    /// The file's number in the manifest, and its type.
    pub file: i32,
    pub resource_type: Option<String>,
    /// In its file, from 1.
    pub line: i64,
    pub reason: String,
    /// Its length in bytes.
    pub length: i32,
    /// Its beginning, where that is wanted.
    pub beginning: Option<Vec<u8>>,
}

/// A page, in the order they were met: those after the one with this id. Of each line `shown` bytes at most; none are read for 0.
pub async fn page(
    db: impl PgExecutor<'_>,
    export_id: Uuid,
    file: Option<i32>,
    after: i64,
    shown: i32,
    limit: i64,
) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"SELECT r.id, f.n AS file, f.resource_type, r.line, r.reason, octet_length(r.bytes) AS "length!",
                  CASE WHEN $4 > 0 THEN substring(r.bytes FROM 1 FOR $4) END AS beginning
             FROM bulkhead.rejected_lines r
             JOIN bulkhead.file_parts p ON p.id = r.part_id JOIN bulkhead.export_files f ON f.id = p.file_id
            WHERE r.export_id = $1 AND ($2::int IS NULL OR f.n = $2) AND r.id > $3
            ORDER BY r.id LIMIT $5"#,
        export_id,
        file,
        after,
        shown,
        limit
    )
    .fetch_all(db)
    .await
}
