//! Are exactly the right rows there? Compared as md5 of their sorted contents, against what the server serves.

use bulkhead_shared::domain::resource::table_of;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

/// md5 over (id, resource) of the rows of an export, sorted.
pub async fn md5_of_rows(pool: &PgPool, export_id: Uuid, resource_type: &str) -> Option<String> {
    let sql = format!(
        "SELECT md5(string_agg(id || resource::text, '' ORDER BY id)) FROM fhir.{} WHERE etl_job_id = $1 AND resource->>'resourceType' = $2",
        table_of(resource_type)
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(export_id).bind(resource_type).fetch_one(pool).await.expect("a table")
}

/// md5 of the same, of NDJSON, as Postgres reads it.
pub async fn md5_of_ndjson(pool: &PgPool, ndjson: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(ndjson).expect("UTF-8");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    sqlx::query_scalar(
        r#"SELECT md5(string_agg((j->>'id') || j::text, '' ORDER BY (j->>'id') COLLATE "C")) FROM unnest($1::text[]) l, LATERAL (SELECT l::jsonb AS j) x"#,
    )
    .bind(&lines)
    .fetch_one(pool)
    .await
    .expect("JSON")
}

/// Rows of an export in all tables, by table.
pub async fn counts(pool: &PgPool, export_id: Uuid) -> Vec<(String, i64)> {
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT relname::text FROM pg_class WHERE relnamespace = 'fhir'::regnamespace AND relkind = 'r' ORDER BY 1")
            .fetch_all(pool)
            .await
            .expect("a catalogue");
    let mut counts = Vec::new();
    for table in tables {
        let sql = format!("SELECT count(*) FROM fhir.{table} WHERE etl_job_id = $1");
        let n: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).bind(export_id).fetch_one(pool).await.expect("a table");
        if n > 0 {
            counts.push((table, n));
        }
    }
    counts
}

/// A line that was not loaded.
#[derive(Debug, sqlx::FromRow)]
pub struct Rejected {
    pub resource_type: String,
    pub line: i64,
    pub byte_start: i64,
    pub reason: String,
    pub bytes: Vec<u8>,
}

/// The lines of an export that were not loaded, in the order of its files.
pub async fn rejected(pool: &PgPool, export_id: Uuid) -> Vec<Rejected> {
    sqlx::query_as(
        "SELECT f.resource_type, r.line, r.byte_start, r.reason, r.bytes
           FROM bulkhead.rejected_lines r JOIN bulkhead.file_parts p ON p.id = r.part_id JOIN bulkhead.export_files f ON f.id = p.file_id
          WHERE r.export_id = $1 ORDER BY f.n, r.line",
    )
    .bind(export_id)
    .fetch_all(pool)
    .await
    .expect("rejected_lines")
}
