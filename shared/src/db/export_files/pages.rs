//! An export's files, a page at a time: there may be tens of thousands.

use sqlx::PgExecutor;
use uuid::Uuid;

/// How many files there are of a kind, a type and a state.
#[derive(Debug)]
pub struct FileCount {
    pub kind: String,
    pub resource_type: Option<String>,
    pub state: String,
    pub files: i64,
    pub lines: i64,
    /// What the server announced for those that are not here yet; `None` where it announced nothing for one of them.
    pub announced: Option<i64>,
}

/// All files, counted.
pub async fn counts(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<Vec<FileCount>> {
    sqlx::query_as!(
        FileCount,
        r#"SELECT kind, resource_type, state, count(*) AS "files!", sum(lines)::bigint AS "lines!",
                  CASE WHEN bool_and(expected_count IS NOT NULL) THEN sum(expected_count)::bigint END AS announced
             FROM bulkhead.export_files WHERE export_id = $1 GROUP BY kind, resource_type, state ORDER BY resource_type, kind, state"#,
        export_id
    )
    .fetch_all(db)
    .await
}

/// Which files a page has; `None` = all.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    pub resource_type: Option<&'a str>,
    pub state: Option<&'a str>,
    /// Only those with lines that could not be loaded.
    pub rejected: bool,
    /// The place where the page before ended: the state's rank and the number.
    pub after: Option<(i32, i32)>,
}

/// A file of a page, with the sums of its parts.
#[derive(Debug)]
pub struct Listed {
    pub id: i64,
    pub n: i32,
    pub kind: String,
    pub resource_type: Option<String>,
    /// May hold a signature: it is shown without its query.
    pub url: String,
    pub is_search: bool,
    pub state: String,
    /// Where its state stands in the list.
    pub place: i32,
    pub expected_count: Option<i64>,
    pub error: Option<String>,
    pub parts: i64,
    pub loaded: i64,
    pub lines: i64,
    pub rows: i64,
    pub duplicates: i64,
    pub rejects: i64,
    pub bytes: i64,
}

/// A page: those that failed, then those to come, then those that are here, each in the manifest's order.
pub async fn page(db: impl PgExecutor<'_>, export_id: Uuid, wanted: &Wanted<'_>, limit: i64) -> sqlx::Result<Vec<Listed>> {
    let (place, n) = wanted.after.unwrap_or((-1, -1));
    if wanted.rejected {
        return of_rejected(db, export_id, wanted.resource_type, (place, n), limit).await;
    }
    // A state is a range of the index, so that nothing else is walked over.
    let places = match wanted.state {
        Some("failed") => [0, 0],
        Some("pending") => [1, 1],
        Some("downloaded") => [2, 2],
        _ => [0, 2],
    };
    sqlx::query_as!(
        Listed,
        r#"WITH page AS MATERIALIZED (
               SELECT id, n, kind, resource_type, url, search IS NOT NULL AS is_search, state, expected_count, error, lines, bytes,
                      CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END AS place
                 FROM bulkhead.export_files
                WHERE export_id = $1 AND ($2::text IS NULL OR resource_type = $2)
                  AND (CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END) BETWEEN $3 AND $4
                  AND ((CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END), n) > ($5, $6)
                ORDER BY (CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END), n LIMIT $7)
           SELECT f.id AS "id!", f.n AS "n!", f.kind AS "kind!", f.resource_type, f.url AS "url!", f.is_search AS "is_search!", f.state AS "state!",
                  f.place AS "place!", f.expected_count, f.error, coalesce(p.parts, 0) AS "parts!", coalesce(p.loaded, 0) AS "loaded!",
                  greatest(f.lines, coalesce(p.lines, 0)) AS "lines!", coalesce(p.rows, 0) AS "rows!", coalesce(p.duplicates, 0) AS "duplicates!",
                  coalesce(p.rejects, 0) AS "rejects!", greatest(f.bytes, coalesce(p.bytes, 0)) AS "bytes!"
             FROM page f
             LEFT JOIN LATERAL (SELECT count(*) AS parts, count(*) FILTER (WHERE state = 'loaded') AS loaded, sum(lines)::bigint AS lines,
                                       sum(rows)::bigint AS rows, sum(duplicates)::bigint AS duplicates, sum(rejects)::bigint AS rejects,
                                       sum(byte_len)::bigint AS bytes
                                  FROM bulkhead.file_parts WHERE file_id = f.id) p ON true
            ORDER BY f.place, f.n"#,
        export_id,
        wanted.resource_type,
        places[0],
        places[1],
        place,
        n,
        limit
    )
    .fetch_all(db)
    .await
}

/// The files with lines that could not be loaded; they are few.
async fn of_rejected(
    db: impl PgExecutor<'_>,
    export_id: Uuid,
    resource_type: Option<&str>,
    (place, n): (i32, i32),
    limit: i64,
) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"WITH page AS MATERIALIZED (
               SELECT id, n, kind, resource_type, url, search IS NOT NULL AS is_search, state, expected_count, error, lines, bytes,
                      CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END AS place
                 FROM bulkhead.export_files
                WHERE id IN (SELECT file_id FROM bulkhead.file_parts WHERE export_id = $1 AND rejects > 0)
                  AND ($2::text IS NULL OR resource_type = $2)
                  AND ((CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END), n) > ($3, $4)
                ORDER BY (CASE state WHEN 'failed' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END), n LIMIT $5)
           SELECT f.id AS "id!", f.n AS "n!", f.kind AS "kind!", f.resource_type, f.url AS "url!", f.is_search AS "is_search!", f.state AS "state!",
                  f.place AS "place!", f.expected_count, f.error, coalesce(p.parts, 0) AS "parts!", coalesce(p.loaded, 0) AS "loaded!",
                  greatest(f.lines, coalesce(p.lines, 0)) AS "lines!", coalesce(p.rows, 0) AS "rows!", coalesce(p.duplicates, 0) AS "duplicates!",
                  coalesce(p.rejects, 0) AS "rejects!", greatest(f.bytes, coalesce(p.bytes, 0)) AS "bytes!"
             FROM page f
             LEFT JOIN LATERAL (SELECT count(*) AS parts, count(*) FILTER (WHERE state = 'loaded') AS loaded, sum(lines)::bigint AS lines,
                                       sum(rows)::bigint AS rows, sum(duplicates)::bigint AS duplicates, sum(rejects)::bigint AS rejects,
                                       sum(byte_len)::bigint AS bytes
                                  FROM bulkhead.file_parts WHERE file_id = f.id) p ON true
            ORDER BY f.place, f.n"#,
        export_id,
        resource_type,
        place,
        n,
        limit
    )
    .fetch_all(db)
    .await
}
