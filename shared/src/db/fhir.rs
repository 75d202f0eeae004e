//! The tables of schema `fhir`, by the export their rows belong to. COPY into them is the worker's.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::resource::R4_TYPES;

const CHUNK: i64 = 10_000;

/// All tables, `other_resources` last.
fn tables() -> impl Iterator<Item = &'static str> {
    R4_TYPES.iter().map(|(_, table)| *table).chain(["other_resources"])
}

/// Removes all rows of an export, a chunk a transaction, so that no transaction is long. Each chunk carries the claim of the stage
/// that asks: one that was taken over in the meantime removes nothing of what its successor has loaded.
pub async fn delete_export(db: &PgPool, export_id: Uuid, stage_id: Uuid, claim_id: Uuid) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for table in tables() {
        loop {
            let sql = format!(
                "DELETE FROM fhir.{table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM fhir.{table} WHERE etl_job_id = $1 LIMIT {CHUNK}))
                    AND etl_job_id = $1 AND EXISTS (SELECT FROM bulkhead.stages WHERE id = $2 AND claim_id = $3 AND state = 'running')"
            );
            let gone = sqlx::query(AssertSqlSafe(sql)).bind(export_id).bind(stage_id).bind(claim_id).execute(db).await?.rows_affected();
            deleted += gone;
            if gone < CHUNK.unsigned_abs() {
                break;
            }
        }
    }
    Ok(deleted)
}

/// Removes the rows that came from some parts, in whatever table they are: a file without a type may have filled several.
pub async fn delete_parts(db: &mut PgConnection, export_id: Uuid, parts: &[i64]) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for table in tables() {
        let sql = format!("DELETE FROM fhir.{table} WHERE etl_job_id = $1 AND part_id = ANY($2)");
        deleted += sqlx::query(AssertSqlSafe(sql)).bind(export_id).bind(parts).execute(&mut *db).await?.rows_affected();
    }
    Ok(deleted)
}
