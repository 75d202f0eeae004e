//! The tables of schema `fhir`, by the export their rows belong to. COPY into them is the worker's.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::resource::R4_TYPES;

const CHUNK: i64 = 10_000;

/// All tables, `other_resources` last.
fn tables() -> impl Iterator<Item = &'static str> {
    R4_TYPES.iter().map(|(_, table)| *table).chain(["other_resources"])
}

/// Removes all rows of an export, a chunk a transaction, so that no transaction is long.
pub async fn delete_export(db: &PgPool, export_id: Uuid) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for table in tables() {
        loop {
            let sql = format!(
                "DELETE FROM fhir.{table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM fhir.{table} WHERE etl_job_id = $1 LIMIT {CHUNK}))"
            );
            let gone = sqlx::query(AssertSqlSafe(sql)).bind(export_id).execute(db).await?.rows_affected();
            deleted += gone;
            if gone < CHUNK.unsigned_abs() {
                break;
            }
        }
    }
    Ok(deleted)
}

/// Removes the rows that came from some parts.
pub async fn delete_parts(db: &mut PgConnection, table: &str, export_id: Uuid, parts: &[i64]) -> sqlx::Result<u64> {
    let sql = format!("DELETE FROM fhir.{table} WHERE etl_job_id = $1 AND part_id = ANY($2)");
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(export_id).bind(parts).execute(db).await?.rows_affected())
}
