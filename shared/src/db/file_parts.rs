//! Table `file_parts`.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::file::FilePart;

/// A part that was cut and stored.
#[derive(Debug, Clone)]
pub struct NewPart {
    pub n: i32,
    pub blob_key: String,
    pub byte_start: i64,
    pub byte_len: i64,
    pub first_line: i64,
    pub physical_lines: i64,
    pub lines: i64,
    pub sha256: Vec<u8>,
}

/// What a load counted.
#[derive(Debug, Clone, Default)]
pub struct LoadCounts {
    pub rows: i64,
    pub duplicates: i64,
    pub rejects: i64,
    pub headers: i64,
    pub left_out: i64,
    /// Of the rows.
    pub subsetted: i64,
    /// Of an error file.
    pub outcomes: Option<serde_json::Value>,
}

struct PartRow {
    id: i64,
    file_id: i64,
    n: i32,
    blob_key: String,
    byte_start: i64,
    byte_len: i64,
    first_line: i64,
    physical_lines: i64,
    lines: i64,
    sha256: Vec<u8>,
    state: String,
    ever_loaded: bool,
}

impl PartRow {
    fn into_part(self) -> sqlx::Result<FilePart> {
        Ok(FilePart {
            id: self.id,
            file_id: self.file_id,
            n: self.n,
            blob_key: self.blob_key,
            byte_start: self.byte_start,
            byte_len: self.byte_len,
            first_line: self.first_line,
            physical_lines: self.physical_lines,
            lines: self.lines,
            sha256: self.sha256,
            state: self.state.parse()?,
            ever_loaded: self.ever_loaded,
        })
    }
}

/// The parts of a file, in order.
pub async fn of_file(db: impl PgExecutor<'_>, file_id: i64) -> sqlx::Result<Vec<FilePart>> {
    let rows = sqlx::query_as!(
        PartRow,
        "SELECT id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256, state, ever_loaded
           FROM bulkhead.file_parts WHERE file_id = $1 ORDER BY n",
        file_id
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(PartRow::into_part).collect()
}

/// A part by its id.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<FilePart>> {
    let row = sqlx::query_as!(
        PartRow,
        "SELECT id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256, state, ever_loaded
           FROM bulkhead.file_parts WHERE id = $1",
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(PartRow::into_part).transpose()
}

/// Stores a part, in place of one with the same number but other content. The caller removes that one's rows and enqueues the load.
pub async fn store(db: &mut PgConnection, export_id: Uuid, file_id: i64, part: &NewPart) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "INSERT INTO bulkhead.file_parts AS p (export_id, file_id, n, blob_key, byte_start, byte_len, first_line, physical_lines, lines, sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (file_id, n) DO UPDATE
            SET blob_key = excluded.blob_key, byte_start = excluded.byte_start, byte_len = excluded.byte_len,
                first_line = excluded.first_line, physical_lines = excluded.physical_lines, lines = excluded.lines, sha256 = excluded.sha256,
                state = 'stored', ever_loaded = false, loaded_at = NULL, rows = NULL, duplicates = NULL, rejects = NULL, outcomes = NULL,
                headers = 0, left_out = 0, subsetted = 0
         RETURNING id",
        export_id,
        file_id,
        part.n,
        part.blob_key,
        part.byte_start,
        part.byte_len,
        part.first_line,
        part.physical_lines,
        part.lines,
        part.sha256,
    )
    .fetch_one(db)
    .await
}

/// It is loaded: `lines = rows + duplicates + rejects + headers + left_out`, which the table checks.
pub async fn set_loaded(db: &mut PgConnection, id: i64, counts: &LoadCounts) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.file_parts
            SET state = 'loaded', ever_loaded = true, rows = $2, duplicates = $3, rejects = $4, outcomes = $5, headers = $6, left_out = $7,
                subsetted = $8, loaded_at = clock_timestamp()
          WHERE id = $1 AND state = 'stored'",
        id,
        counts.rows,
        counts.duplicates,
        counts.rejects,
        counts.outcomes,
        counts.headers,
        counts.left_out,
        counts.subsetted,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Its blob is gone or broken.
pub async fn set_lost(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.file_parts SET state = 'lost', loaded_at = NULL, rows = NULL, duplicates = NULL, rejects = NULL WHERE id = $1",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A file became shorter: the parts from `n` on are gone, and returned, for their rows to go too.
pub async fn remove_from(db: &mut PgConnection, file_id: i64, n: i32) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("DELETE FROM bulkhead.file_parts WHERE file_id = $1 AND n >= $2 RETURNING id", file_id, n).fetch_all(db).await
}

/// Whether parts of this type in this export have met duplicates: from the first one on, loads merge one at a time.
pub async fn duplicates_met(db: &mut PgConnection, export_id: Uuid, resource_type: Option<&str>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bulkhead.file_parts p JOIN bulkhead.export_files f ON f.id = p.file_id
                           WHERE p.export_id = $1 AND (f.resource_type IS NULL OR $2::text IS NULL OR f.resource_type = $2) AND p.duplicates > 0) AS "met!""#,
        export_id,
        resource_type
    )
    .fetch_one(db)
    .await
}

/// A part got other content: a load of the old content that is on its way is fenced off and runs again.
pub async fn restart_load(db: &mut PgConnection, part_id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.stages
            SET state = 'ready', claim_id = NULL, worker_id = NULL, ticketed_at = NULL, attempt = 0, next_run_at = clock_timestamp()
          WHERE part_id = $1 AND kind = 'load' AND state IN ('ready', 'running', 'dead')",
        part_id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The sums of an export's parts.
#[derive(Debug, Default)]
pub struct Sums {
    pub parts: i64,
    pub loaded: i64,
    /// Rows of its output files in the database.
    pub rows: i64,
    pub rejects: i64,
    /// Uncompressed.
    pub bytes: i64,
    pub bytes_loaded: i64,
    pub lines_loaded: i64,
    /// Of those the ones of the last minute, and their parts.
    pub lines_lately: i64,
    pub parts_lately: i64,
}

/// The sums of an export's parts, now.
pub async fn sums(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<Sums> {
    sqlx::query_as!(
        Sums,
        r#"SELECT count(*) AS "parts!", count(*) FILTER (WHERE p.state = 'loaded') AS "loaded!",
                  coalesce(sum(p.rows) FILTER (WHERE f.kind = 'output'), 0)::bigint AS "rows!", coalesce(sum(p.rejects), 0)::bigint AS "rejects!",
                  coalesce(sum(p.byte_len), 0)::bigint AS "bytes!",
                  coalesce(sum(p.byte_len) FILTER (WHERE p.state = 'loaded'), 0)::bigint AS "bytes_loaded!",
                  coalesce(sum(p.lines) FILTER (WHERE p.state = 'loaded'), 0)::bigint AS "lines_loaded!",
                  coalesce(sum(p.lines) FILTER (WHERE p.loaded_at > clock_timestamp() - interval '1 minute'), 0)::bigint AS "lines_lately!",
                  count(*) FILTER (WHERE p.loaded_at > clock_timestamp() - interval '1 minute') AS "parts_lately!"
             FROM bulkhead.file_parts p JOIN bulkhead.export_files f ON f.id = p.file_id WHERE p.export_id = $1"#,
        export_id
    )
    .fetch_one(db)
    .await
}

/// Whether a blob was found gone or broken, and not stored again since.
pub async fn any_lost(db: &mut PgConnection, file_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM bulkhead.file_parts WHERE file_id = $1 AND state = 'lost') AS "lost!""#, file_id)
        .fetch_one(db)
        .await
}

/// Whether a part has this blob.
pub async fn is_blob_known(db: impl PgExecutor<'_>, blob_key: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM bulkhead.file_parts WHERE blob_key = $1) AS "known!""#, blob_key).fetch_one(db).await
}

/// Where duplicates were met in the type of this file, its loaded parts are to load again; the caller removes their rows. Returns them as (file, part, rank).
pub async fn unload_duplicates(db: &mut PgConnection, export_id: Uuid, file_id: i64, but_not: i64) -> sqlx::Result<Vec<(i64, i64, i32)>> {
    let rows = sqlx::query!(
        r#"WITH same AS (SELECT p.id, f.n FROM bulkhead.file_parts p JOIN bulkhead.export_files f ON f.id = p.file_id
                          WHERE p.export_id = $1 AND f.kind = 'output'
                            -- A file without a type may share its tables with any other.
                            AND (f.resource_type IS NULL
                              OR f.resource_type = coalesce((SELECT resource_type FROM bulkhead.export_files WHERE id = $2), f.resource_type)))
           UPDATE bulkhead.file_parts p
              SET state = 'stored', ever_loaded = false, loaded_at = NULL, rows = NULL, duplicates = NULL, rejects = NULL
             FROM same
            WHERE p.id = same.id AND p.id <> $3 AND p.state = 'loaded'
              AND EXISTS (SELECT FROM bulkhead.file_parts d JOIN same s ON s.id = d.id WHERE d.duplicates > 0)
           RETURNING p.file_id, p.id, same.n + p.n AS "rank!""#,
        export_id,
        file_id,
        but_not
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.file_id, row.id, row.rank)).collect())
}
