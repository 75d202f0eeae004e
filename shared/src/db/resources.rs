//! The resources of one export, looked at one by one: tables of schema `fhir`, read only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgExecutor, PgPool};
use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::resource::table_of;

/// What is looked through before the clock is asked again: rows for a patient, fewer for a text, which is read whole.
const ROWS_FOR_A_PATIENT: i64 = 50_000;
const ROWS_FOR_A_TEXT: i64 = 4_000;
/// A page that is not full by then says how far it came.
const PATIENCE: Duration = Duration::from_millis(700);

/// What a resource is about, in a few words: the first of the places where FHIR has them.
const ABOUT: &str = "left(coalesce(resource #>> '{code,text}', resource #>> '{code,coding,0,display}', resource #>> '{name,0,text}',
    nullif(concat_ws(' ', resource #>> '{name,0,given,0}', resource #>> '{name,0,family}'), ''),
    resource #>> '{medicationCodeableConcept,text}', resource #>> '{medicationCodeableConcept,coding,0,display}',
    resource #>> '{vaccineCode,text}', resource #>> '{vaccineCode,coding,0,display}', resource #>> '{type,0,text}', resource #>> '{type,0,coding,0,display}',
    resource #>> '{type,text}', resource #>> '{type,coding,0,display}', resource #>> '{category,0,text}', resource #>> '{category,0,coding,0,display}',
    CASE WHEN jsonb_typeof(resource -> 'name') = 'string' THEN resource ->> 'name' END, resource ->> 'status'), 160)";

/// Which resources are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    pub resource_type: &'a str,
    /// About this patient.
    pub patient: Option<&'a str>,
    /// With these characters anywhere in them, in whatever case.
    pub text: Option<&'a str>,
    /// Only ids after this one.
    pub after: Option<&'a str>,
}

/// A resource in a list.
#[derive(Debug, Clone, FromRow)]
pub struct Listed {
    pub id: String,
    pub patient_id: Option<String>,
    pub last_updated: Option<DateTime<Utc>>,
    pub about: Option<String>,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct Page {
    pub resources: Vec<Listed>,
    /// Where it goes on; `None`: this was the last page.
    pub next: Option<String>,
}

/// The resources that are wanted, by id. A page may have fewer than `limit` and go on all the same: it takes no longer than a moment.
pub async fn page(pool: &PgPool, export_id: Uuid, wanted: &Wanted<'_>, limit: i64) -> sqlx::Result<Page> {
    let table = table_of(wanted.resource_type);
    let rows = match (wanted.text, wanted.patient) {
        (Some(_), _) => ROWS_FOR_A_TEXT,
        (None, Some(_)) => ROWS_FOR_A_PATIENT,
        (None, None) => limit,
    };
    let border =
        format!("SELECT id FROM fhir.{table} WHERE etl_job_id = $1 AND {} AND id > $3 ORDER BY id OFFSET $4 LIMIT 1", of_type(table));
    let found = format!(
        "SELECT id, patient_id, last_updated, {ABOUT} AS about FROM fhir.{table}
          WHERE etl_job_id = $1 AND {} AND id > $3 AND ($4::text IS NULL OR id <= $4)
            AND ($5::text IS NULL OR patient_id = $5) AND ($6::text IS NULL OR strpos(lower(resource::text), lower($6)) > 0)
          ORDER BY id LIMIT $7",
        of_type(table)
    );
    let began = Instant::now();
    let mut page = Page { resources: Vec::new(), next: wanted.after.map(str::to_owned) };
    loop {
        let after = page.next.clone().unwrap_or_default();
        let last: Option<String> = sqlx::query_scalar(AssertSqlSafe(border.clone()))
            .bind(export_id)
            .bind(wanted.resource_type)
            .bind(&after)
            .bind(rows - 1)
            .fetch_optional(pool)
            .await?;
        let room = limit - i64::try_from(page.resources.len()).unwrap_or(limit);
        let more: Vec<Listed> = sqlx::query_as(AssertSqlSafe(found.clone()))
            .bind(export_id)
            .bind(wanted.resource_type)
            .bind(&after)
            .bind(&last)
            .bind(wanted.patient)
            .bind(wanted.text)
            .bind(room)
            .fetch_all(pool)
            .await?;
        let is_full = i64::try_from(more.len()).unwrap_or(room) == room;
        page.next = if is_full { more.last().map(|listed| listed.id.clone()) } else { last };
        page.resources.extend(more);
        if is_full || page.next.is_none() || began.elapsed() > PATIENCE {
            return Ok(page);
        }
    }
}

/// One resource as it is stored, written for people: its text may hold what no program of ours parses.
pub async fn pretty(db: impl PgExecutor<'_>, export_id: Uuid, resource_type: &str, id: &str) -> sqlx::Result<Option<String>> {
    let table = table_of(resource_type);
    let sql = format!("SELECT jsonb_pretty(resource) FROM fhir.{table} WHERE etl_job_id = $1 AND {} AND id = $3", of_type(table));
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(export_id).bind(resource_type).bind(id).fetch_optional(db).await
}

/// Those of some ids that are in the export.
pub async fn known(db: impl PgExecutor<'_>, export_id: Uuid, resource_type: &str, ids: &[String]) -> sqlx::Result<Vec<String>> {
    let table = table_of(resource_type);
    let sql = format!("SELECT id FROM fhir.{table} WHERE etl_job_id = $1 AND {} AND id = ANY($3)", of_type(table));
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(export_id).bind(resource_type).bind(ids).fetch_all(db).await
}

/// A type that has no table of its own shares one; elsewhere the parameter is only mentioned.
fn of_type(table: &str) -> &'static str {
    if table == "other_resources" { "resource_type = $2" } else { "$2::text IS NOT NULL" }
}
