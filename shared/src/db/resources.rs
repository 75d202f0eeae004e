//! The resources of one export, looked at one by one: tables of schema `fhir`, read only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgExecutor, PgPool};
use tokio::time::Instant;
use uuid::Uuid;

use super::{at_most, rows_of_patients, took_too_long};
use crate::domain::resource::table_of;

/// Rows that are read whole for a text in one statement, at most,
const ROWS_FOR_A_TEXT: i64 = 2_000;
/// and how many bytes of them, as they are stored.
const BYTES_FOR_A_TEXT: i64 = 4 << 20;
/// A page that is not full by then says how far it came.
const PATIENCE: Duration = Duration::from_millis(500);
/// No statement takes longer, whoever waits for it: one that is ended looks through fewer rows.
const LONGEST: Duration = Duration::from_secs(2);

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

/// The resources that are wanted, by id. Where a text is searched for among everybody's, a page may have fewer than `limit` and go on all the
/// same: it takes no longer than a moment.
pub async fn page(pool: &PgPool, export_id: Uuid, wanted: &Wanted<'_>, limit: i64) -> sqlx::Result<Page> {
    let search = Search { pool, export_id, wanted, table: table_of(wanted.resource_type), limit };
    match (wanted.patient, wanted.text) {
        (Some(patient), _) => search.of_patient(patient).await,
        (None, Some(_)) => search.walk().await,
        (None, None) => search.all().await,
    }
}

struct Search<'a> {
    pool: &'a PgPool,
    export_id: Uuid,
    wanted: &'a Wanted<'a>,
    table: &'static str,
    limit: i64,
}

impl Search<'_> {
    /// `$1` to `$3`: which rows, and after which id.
    fn rows(&self) -> String {
        format!("FROM fhir.{0} r WHERE r.etl_job_id = $1 AND {1} AND r.id > $3", self.table, of_type(self.table))
    }

    async fn all(&self) -> sqlx::Result<Page> {
        let sql = format!("SELECT id, patient_id, last_updated, {ABOUT} AS about {} ORDER BY r.id LIMIT $4", self.rows());
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(self.export_id).bind(self.wanted.resource_type);
        let found = query.bind(self.wanted.after.unwrap_or_default()).bind(self.limit).fetch_all(self.pool).await?;
        Ok(self.last_if_not_full(found))
    }

    /// Those of one patient are few: all of them by their ids, and then a page. Of an export that is not summed up yet they are looked for.
    async fn of_patient(&self, patient: &str) -> sqlx::Result<Page> {
        let ids = if self.table == "patients" {
            vec![patient.to_owned()]
        } else {
            match rows_of_patients::ids(self.pool, self.export_id, self.wanted.resource_type, patient).await? {
                Some(ids) => ids,
                None => return self.walk().await,
            }
        };
        let sql = format!(
            "SELECT r.id, patient_id, last_updated, {ABOUT} AS about {} AND r.id = ANY($4) AND ($5::text IS NULL OR {}) ORDER BY r.id LIMIT $7",
            self.rows(),
            has_text("$5", "$6")
        );
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(self.export_id).bind(self.wanted.resource_type);
        let query = query.bind(self.wanted.after.unwrap_or_default()).bind(ids).bind(self.wanted.text);
        let query = query.bind(self.wanted.text.map(as_in_json)).bind(self.limit);
        let mut tx = self.pool.begin_with("BEGIN READ ONLY").await?;
        at_most(&mut tx, LONGEST).await?;
        let found = query.fetch_all(&mut *tx).await?;
        tx.rollback().await?;
        Ok(self.last_if_not_full(found))
    }

    /// Looks through some rows at a time for a text, or a patient, or both.
    async fn walk(&self) -> sqlx::Result<Page> {
        let began = Instant::now();
        let mut rows = ROWS_FOR_A_TEXT;
        let mut page = Page { resources: Vec::new(), next: self.wanted.after.map(str::to_owned) };
        loop {
            let after = page.next.clone().unwrap_or_default();
            let room = self.limit - i64::try_from(page.resources.len()).unwrap_or(self.limit);
            let (batch, more) = match self.look_through(&after, rows, room).await {
                // A single resource is never more than a text of 16 MiB.
                Err(error) if took_too_long(&error) && rows > 1 => {
                    rows = (rows / 8).max(1);
                    continue;
                }
                done => done?,
            };
            let is_full = i64::try_from(more.len()).unwrap_or(room) == room;
            page.next = if is_full { more.last().map(|listed| listed.id.clone()) } else { batch.last.filter(|_| !batch.ends) };
            page.resources.extend(more);
            if is_full || page.next.is_none() || began.elapsed() > PATIENCE {
                return Ok(page);
            }
        }
    }

    /// Among the next rows, those that are wanted: at most `room` of them.
    async fn look_through(&self, after: &str, rows: i64, room: i64) -> sqlx::Result<(Batch, Vec<Listed>)> {
        let border = format!(
            "SELECT max(id) FILTER (WHERE fits) AS last, coalesce(bool_and(fits), true) AND count(*) < $4 AS ends
               FROM (SELECT r.id, row_number() OVER w = 1 OR sum(pg_column_size(r.resource)) OVER w <= $5 AS fits {}
                     WINDOW w AS (ORDER BY r.id ROWS UNBOUNDED PRECEDING) ORDER BY r.id LIMIT $4) b",
            self.rows()
        );
        let found = format!(
            "SELECT id, patient_id, last_updated, {ABOUT} AS about {} AND r.id <= $4 AND ($7::text IS NULL OR patient_id = $7)
                AND ($5::text IS NULL OR {}) ORDER BY r.id LIMIT $8",
            self.rows(),
            has_text("$5", "$6")
        );
        let mut tx = self.pool.begin_with("BEGIN READ ONLY").await?;
        at_most(&mut tx, LONGEST).await?;
        let batch: Batch = sqlx::query_as(AssertSqlSafe(border))
            .bind(self.export_id)
            .bind(self.wanted.resource_type)
            .bind(after)
            .bind(rows)
            .bind(BYTES_FOR_A_TEXT)
            .fetch_one(&mut *tx)
            .await?;
        let query = sqlx::query_as(AssertSqlSafe(found)).bind(self.export_id).bind(self.wanted.resource_type);
        let query = query.bind(after).bind(batch.last.as_deref().unwrap_or_default());
        let query = query.bind(self.wanted.text).bind(self.wanted.text.map(as_in_json)).bind(self.wanted.patient).bind(room);
        let more = query.fetch_all(&mut *tx).await?;
        tx.rollback().await?;
        Ok((batch, more))
    }

    /// A full page may be followed by another.
    fn last_if_not_full(&self, resources: Vec<Listed>) -> Page {
        let is_full = i64::try_from(resources.len()).is_ok_and(|found| found == self.limit);
        let next = resources.last().filter(|_| is_full).map(|listed| listed.id.clone());
        Page { resources, next }
    }
}

/// Where looking for a text has come to.
#[derive(Debug, FromRow)]
struct Batch {
    last: Option<String>,
    /// There is nothing after it.
    ends: bool,
}

/// The text stands there, as it is or as JSON writes it: with its quotes and backslashes escaped.
fn has_text(plain: &str, escaped: &str) -> String {
    format!(
        "EXISTS (SELECT FROM (SELECT lower(r.resource::text) AS t OFFSET 0) l
                  WHERE strpos(l.t, lower({plain})) > 0 OR ({escaped} <> {plain} AND strpos(l.t, lower({escaped})) > 0))"
    )
}

fn as_in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// One resource.
#[derive(Debug, FromRow)]
pub struct One {
    /// As it is stored, written for people: it may hold what no program of ours parses.
    pub text: String,
    /// Whom it is about.
    pub patient_id: Option<String>,
}

/// One resource.
pub async fn one(db: impl PgExecutor<'_>, export_id: Uuid, resource_type: &str, id: &str) -> sqlx::Result<Option<One>> {
    let table = table_of(resource_type);
    let sql = format!(
        "SELECT jsonb_pretty(resource) AS text, patient_id FROM fhir.{table} WHERE etl_job_id = $1 AND {} AND id = $3",
        of_type(table)
    );
    sqlx::query_as(AssertSqlSafe(sql)).bind(export_id).bind(resource_type).bind(id).fetch_optional(db).await
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
