//! Table `rows_of_patients`: which resources are about a patient, of an export that was summed up.

use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};
use uuid::Uuid;

/// Writes those of a table for a summary that will be completed in the same transaction. A table that several types share says which.
pub async fn add(db: &mut PgConnection, summary_id: Uuid, export_id: Uuid, table: &str, resource_type: &str) -> sqlx::Result<()> {
    let resource_type = if resource_type.is_empty() { "resource_type".to_owned() } else { format!("'{resource_type}'") };
    let sql = format!(
        "INSERT INTO bulkhead.rows_of_patients (summary_id, resource_type, patient_id, ids)
         SELECT $1, {resource_type}, patient_id, array_agg(id ORDER BY id) FROM fhir.{table}
          WHERE etl_job_id = $2 AND patient_id IS NOT NULL GROUP BY 2, 3"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(summary_id).bind(export_id).execute(db).await?;
    Ok(())
}

/// Removes those of a summary that does not count.
pub async fn remove(db: impl PgExecutor<'_>, summary_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM bulkhead.rows_of_patients WHERE summary_id = $1", summary_id).execute(db).await?;
    Ok(())
}

/// The ids of a patient's resources of a type. `None`: the export has no summary that counts, so nobody knows yet.
pub async fn ids(db: impl PgExecutor<'_>, export_id: Uuid, resource_type: &str, patient_id: &str) -> sqlx::Result<Option<Vec<String>>> {
    let known = sqlx::query_scalar!(
        r#"SELECT coalesce(p.ids, '{}') AS "ids!" FROM bulkhead.exports e
             JOIN bulkhead.summaries m ON m.export_id = e.id AND m.of_end = e.finished_at
             LEFT JOIN bulkhead.rows_of_patients p ON p.summary_id = m.id AND p.resource_type = $2 AND p.patient_id = $3
            WHERE e.id = $1"#,
        export_id,
        resource_type,
        patient_id
    );
    known.fetch_optional(db).await
}
