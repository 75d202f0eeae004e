//! Table `export_files`.

pub mod pages;
pub mod searches;

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::{file::ExportFile, manifest::ManifestFile};

/// Adds a manifest page's files; known ones (by URL without signature) get their fresh URL. Returns the new
/// ones as (id, n).
pub async fn add(db: &mut PgConnection, export_id: Uuid, manifest_url: &str, files: &[ManifestFile]) -> sqlx::Result<Vec<(i64, i32)>> {
    let urls: Vec<String> = files.iter().map(|f| f.url.to_string()).collect();
    let keys: Vec<String> = files.iter().map(|f| f.url_key.clone()).collect();
    let kinds: Vec<String> = files.iter().map(|f| f.kind.as_str().to_owned()).collect();
    let types: Vec<Option<String>> = files.iter().map(|f| f.resource_type.clone()).collect();
    let counts: Vec<Option<i64>> = files.iter().map(|f| f.count).collect();
    let tokens: Vec<Option<bool>> = files.iter().map(|f| f.requires_token).collect();
    let rows = sqlx::query!(
        r#"WITH known AS (SELECT coalesce(max(n), 0) AS n FROM bulkhead.export_files WHERE export_id = $1),
                named AS (
                    -- Another file of an earlier page has this key: then it names neither. On the same page it is the same file, freshly signed.
                    SELECT l.url, l.kind, l.resource_type, l.expected_count, l.requires_token, l.place,
                           CASE WHEN f.url <> l.url AND f.manifest_url IS DISTINCT FROM $8 THEN l.url ELSE l.url_key END AS url_key
                      FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bool[])
                           WITH ORDINALITY AS l(url, url_key, kind, resource_type, expected_count, requires_token, place)
                      LEFT JOIN bulkhead.export_files f ON f.export_id = $1 AND f.url_key = l.url_key),
                listed AS (SELECT DISTINCT ON (url_key) * FROM named ORDER BY url_key, place),
                added AS (
                    INSERT INTO bulkhead.export_files
                           (export_id, n, url, url_key, kind, resource_type, expected_count, requires_token, manifest_url)
                    SELECT $1, known.n + row_number() OVER (ORDER BY place), url, url_key, kind, resource_type, expected_count, requires_token, $8
                      FROM listed, known
                    ON CONFLICT (export_id, url_key) DO UPDATE SET url = excluded.url, requires_token = excluded.requires_token
                    RETURNING id, n, xmax = 0 AS is_new)
           SELECT id AS "id!", n AS "n!" FROM added WHERE is_new ORDER BY n"#,
        export_id,
        &urls,
        &keys,
        &kinds,
        &types as &[Option<String>],
        &counts as &[Option<i64>],
        &tokens as &[Option<bool>],
        manifest_url,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.n)).collect())
}

/// A file by its id.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<ExportFile>> {
    let row = sqlx::query!(
        "SELECT id, n, url, kind, resource_type, expected_count, requires_token, state, bytes, lines, error, etag, manifest_url
           FROM bulkhead.export_files WHERE id = $1",
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(ExportFile {
            id: row.id,
            n: row.n,
            url: row.url,
            kind: row.kind.parse()?,
            resource_type: row.resource_type,
            expected_count: row.expected_count,
            requires_token: row.requires_token,
            state: row.state.parse()?,
            bytes: row.bytes,
            lines: row.lines,
            error: row.error,
            etag: row.etag,
            manifest_url: row.manifest_url,
        })
    })
    .transpose()
}

/// A manifest page that was fetched again: known files get its URLs and counts, unknown ones are ignored. A file is known by its key; by its
/// path alone where the page has it once and its query is signed in a way that we do not know.
pub async fn refresh(db: &mut PgConnection, export_id: Uuid, manifest_url: &str, files: &[ManifestFile]) -> sqlx::Result<()> {
    let urls: Vec<String> = files.iter().map(|f| f.url.to_string()).collect();
    let keys: Vec<String> = files.iter().map(|f| f.url_key.clone()).collect();
    let counts: Vec<Option<i64>> = files.iter().map(|f| f.count).collect();
    sqlx::query!(
        "UPDATE bulkhead.export_files f SET url = l.url, expected_count = coalesce(l.count, f.expected_count)
           FROM unnest($2::text[], $3::text[], $4::bigint[]) AS l(url, url_key, count)
          WHERE f.export_id = $1 AND f.url_key = l.url_key AND (f.manifest_url = $5 OR f.manifest_url IS NULL)",
        export_id,
        &urls,
        &keys,
        &counts as &[Option<i64>],
        manifest_url
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "WITH listed AS (SELECT split_part(url, '?', 1) AS path, min(url) AS url, min(url_key) AS url_key, min(count) AS count
                           FROM unnest($2::text[], $3::text[], $4::bigint[]) AS l(url, url_key, count)
                          GROUP BY 1 HAVING count(*) = 1),
              known AS (SELECT split_part(url, '?', 1) AS path, min(id) AS id FROM bulkhead.export_files
                         WHERE export_id = $1 AND manifest_url = $5 GROUP BY 1 HAVING count(*) = 1)
         UPDATE bulkhead.export_files f SET url = listed.url, expected_count = coalesce(listed.count, f.expected_count)
           FROM listed JOIN known USING (path) WHERE f.id = known.id AND f.url_key <> listed.url_key",
        export_id,
        &urls,
        &keys,
        &counts as &[Option<i64>],
        manifest_url
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The first answer can be resumed by Range (or, without a tag, cannot).
pub async fn set_etag(db: &mut PgConnection, id: i64, etag: Option<&str>) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.export_files SET etag = $2 WHERE id = $1", id, etag).execute(db).await?;
    Ok(())
}

/// It is here, whole: so many parts, lines and (uncompressed) bytes.
pub async fn set_downloaded(db: &mut PgConnection, id: i64, parts: i32, lines: i64, bytes: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.export_files SET state = 'downloaded', parts = $2, lines = $3, bytes = $4, error = NULL WHERE id = $1",
        id,
        parts,
        lines,
        bytes
    )
    .execute(db)
    .await?;
    Ok(())
}

/// It could not be had, or not be loaded. The others go on; the export will not be `completed`.
pub async fn set_failed(db: &mut PgConnection, id: i64, error: &str) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.export_files SET state = 'failed', error = $2 WHERE id = $1", id, error).execute(db).await?;
    Ok(())
}

/// A part's blob was lost: the file must be read again.
pub async fn set_pending(db: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.export_files SET state = 'pending', error = NULL WHERE id = $1", id).execute(db).await?;
    Ok(())
}

/// What finish must know of a file.
#[derive(Debug)]
pub struct FileTotals {
    pub n: i32,
    pub kind: String,
    pub resource_type: Option<String>,
    pub state: String,
    pub expected_count: Option<i64>,
    pub lines: i64,
    pub error: Option<String>,
    pub loaded_lines: i64,
    pub rows: i64,
    pub duplicates: i64,
    pub rejects: i64,
    pub headers: i64,
    pub left_out: i64,
    pub subsetted: i64,
    /// Of a file of deletions.
    pub deletions: i64,
    /// Of an error file: a list of lists of `{severity, text, count}`.
    pub outcomes: serde_json::Value,
    /// Of a search: what its pages said.
    pub search: Option<serde_json::Value>,
    pub cursor: Option<serde_json::Value>,
}

/// Every file with the sums of its parts.
pub async fn totals(db: &mut PgConnection, export_id: Uuid) -> sqlx::Result<Vec<FileTotals>> {
    sqlx::query_as!(
        FileTotals,
        r#"SELECT f.n, f.kind, f.resource_type, f.state, f.expected_count, f.lines, f.error,
                  coalesce(sum(p.lines) FILTER (WHERE p.state = 'loaded'), 0)::bigint AS "loaded_lines!",
                  coalesce(sum(p.rows), 0)::bigint AS "rows!", coalesce(sum(p.duplicates), 0)::bigint AS "duplicates!",
                  coalesce(sum(p.rejects), 0)::bigint AS "rejects!",
                  coalesce(sum(p.headers), 0)::bigint AS "headers!", coalesce(sum(p.left_out), 0)::bigint AS "left_out!",
                  coalesce(sum(p.subsetted), 0)::bigint AS "subsetted!",
                  CASE WHEN f.kind = 'deleted' THEN (SELECT count(*) FROM bulkhead.deletions d JOIN bulkhead.file_parts dp ON dp.id = d.part_id
                                                       WHERE dp.file_id = f.id) ELSE 0 END AS "deletions!",
                  coalesce(jsonb_agg(p.outcomes) FILTER (WHERE p.outcomes IS NOT NULL), '[]') AS "outcomes!", f.search, f.cursor
             FROM bulkhead.export_files f LEFT JOIN bulkhead.file_parts p ON p.file_id = f.id
            WHERE f.export_id = $1 GROUP BY f.id ORDER BY f.n"#,
        export_id
    )
    .fetch_all(db)
    .await
}

/// A file as its export's reader sees it, with the sums of its parts.
#[derive(Debug)]
pub struct FileListed {
    pub n: i32,
    pub resource_type: Option<String>,
    pub kind: String,
    pub url: String,
    pub state: String,
    pub expected_count: Option<i64>,
    pub lines: i64,
    pub bytes: i64,
    pub error: Option<String>,
    pub parts: i64,
    pub parts_loaded: i64,
    pub rows: i64,
    pub duplicates: i64,
    pub rejects: i64,
}

/// Every file of an export, in the manifest's order.
pub async fn list(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<Vec<FileListed>> {
    sqlx::query_as!(
        FileListed,
        r#"SELECT f.n, f.resource_type, f.kind, f.url, f.state, f.expected_count, f.lines, f.bytes, f.error,
                  coalesce(p.parts, 0) AS "parts!", coalesce(p.loaded, 0) AS "parts_loaded!", coalesce(p.rows, 0) AS "rows!",
                  coalesce(p.duplicates, 0) AS "duplicates!", coalesce(p.rejects, 0) AS "rejects!"
             FROM bulkhead.export_files f
             LEFT JOIN (SELECT file_id, count(*) AS parts, count(*) FILTER (WHERE state = 'loaded') AS loaded,
                               sum(rows)::bigint AS rows, sum(duplicates)::bigint AS duplicates, sum(rejects)::bigint AS rejects
                          FROM bulkhead.file_parts WHERE export_id = $1 GROUP BY file_id) p ON p.file_id = f.id
            WHERE f.export_id = $1 ORDER BY f.n"#,
        export_id
    )
    .fetch_all(db)
    .await
}
