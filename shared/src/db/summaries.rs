//! Tables `summaries` and `summary_columns`: what the data page shows of an export that has ended. A summary counts for the end of the
//! export that it was made after, and for no other.

use chrono::{DateTime, NaiveDate, Utc};
use futures::stream::BoxStream;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::domain::summary::Kind;

/// The number of a record that is about nobody who is known.
pub const NOBODY: i32 = -1;
/// A day that was not given.
pub const NOT_GIVEN: i32 = i32::MIN;

/// Records of one kind, code and unit, to be written. `migrations/0050_summaries.sql` says what is in the columns.
#[derive(Debug)]
pub struct NewColumns {
    pub kind: Kind,
    pub code: Option<String>,
    pub display: Option<String>,
    pub unit: Option<String>,
    pub records: usize,
    pub people: Vec<u8>,
    pub days: Vec<u8>,
    pub vals: Vec<u8>,
}

impl NewColumns {
    /// None yet.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self { kind, code: None, display: None, unit: None, records: 0, people: Vec::new(), days: Vec::new(), vals: Vec::new() }
    }
}

/// Writes columns of a summary that `keep` will complete in the same transaction.
pub async fn add_columns(db: &mut PgConnection, summary_id: Uuid, columns: Vec<NewColumns>) -> sqlx::Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let kinds: Vec<String> = columns.iter().map(|c| c.kind.as_str().to_owned()).collect();
    let records: Vec<i32> = columns.iter().map(|c| i32::try_from(c.records).unwrap_or(i32::MAX)).collect();
    let (mut codes, mut displays, mut units) = (Vec::new(), Vec::new(), Vec::new());
    let (mut people, mut days, mut vals) = (Vec::new(), Vec::new(), Vec::new());
    for column in columns {
        codes.push(column.code);
        displays.push(column.display);
        units.push(column.unit);
        people.push(column.people);
        days.push(column.days);
        vals.push(column.vals);
    }
    sqlx::query!(
        "INSERT INTO bulkhead.summary_columns (summary_id, kind, code, display, unit, records, people, days, vals)
         SELECT $1, n.* FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::bytea[], $8::bytea[], $9::bytea[]) n",
        summary_id,
        &kinds,
        &codes as &[Option<String>],
        &displays as &[Option<String>],
        &units as &[Option<String>],
        &records,
        &people,
        &days,
        &vals
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A summary whose columns are written.
#[derive(Debug, Clone)]
pub struct NewSummary {
    pub id: Uuid,
    pub export_id: Uuid,
    /// The end of the export before its rows were read.
    pub of_end: DateTime<Utc>,
    pub people: i32,
    pub records: i64,
}

/// Completes a summary, instead of the export's earlier one. `false`: the export went on meanwhile, or is being deleted, and what was written
/// is removed. The caller holds the export's lock.
pub async fn keep(db: &mut PgConnection, summary: &NewSummary) -> sqlx::Result<bool> {
    sqlx::query!("DELETE FROM bulkhead.summaries WHERE export_id = $1", summary.export_id).execute(&mut *db).await?;
    // The server's day, where it says one that is one.
    let kept = sqlx::query!(
        r"INSERT INTO bulkhead.summaries (id, export_id, of_end, as_of, people, records)
          SELECT $1, e.id, e.finished_at,
                 CASE WHEN e.transaction_time ~ '^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])' THEN left(e.transaction_time, 10)::date
                      ELSE (e.created_at AT TIME ZONE 'UTC')::date END, $4, $5
            FROM bulkhead.exports e WHERE e.id = $2 AND e.finished_at = $3 AND e.delete_requested_at IS NULL",
        summary.id,
        summary.export_id,
        summary.of_end,
        summary.people,
        summary.records
    )
    .execute(&mut *db)
    .await?;
    if kept.rows_affected() == 1 {
        return Ok(true);
    }
    sqlx::query!("DELETE FROM bulkhead.summary_columns WHERE summary_id = $1", summary.id).execute(db).await?;
    Ok(false)
}

/// An export and its summary, if it has one that counts.
#[derive(Debug, Clone)]
pub struct Summarised {
    pub export_id: Uuid,
    pub source_id: Uuid,
    pub base_url: String,
    pub level: String,
    pub group_id: Option<String>,
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub summary_id: Option<Uuid>,
    pub as_of: Option<NaiveDate>,
    pub people: Option<i32>,
    pub records: Option<i64>,
    /// Why it could not be made, if no attempt is left.
    pub given_up: Option<String>,
}

/// Some exports, in the order of their ids in `ids`. One that is not there, or is being deleted, is left out.
pub async fn of(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<Summarised>> {
    sqlx::query_as!(
        Summarised,
        r#"SELECT e.id AS export_id, e.source_id, s.base_url, e.level, e.group_id, e.state, e.created_at, e.finished_at,
                  m.id AS "summary_id?", m.as_of AS "as_of?", m.people AS "people?", m.records AS "records?",
                  (SELECT coalesce(t.error, '') FROM bulkhead.stages t WHERE t.export_id = e.id AND t.kind = 'summarise' AND t.state = 'dead') AS given_up
             FROM unnest($1::uuid[]) WITH ORDINALITY AS n(id, at)
             JOIN bulkhead.exports e ON e.id = n.id
             JOIN bulkhead.sources s ON s.id = e.source_id
             LEFT JOIN bulkhead.summaries m ON m.export_id = e.id AND m.of_end = e.finished_at
            WHERE e.delete_requested_at IS NULL AND e.purpose = 'export'
            ORDER BY n.at"#,
        ids
    )
    .fetch_all(db)
    .await
}

/// The latest completed export of each Group, at most `most`; Groups in the order of their names.
pub async fn latest_of_groups(db: impl PgExecutor<'_>, most: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"SELECT e.id AS "id!" FROM (
               SELECT DISTINCT ON (e.group_id, e.source_id) e.id, e.group_id
                 FROM bulkhead.exports e
                WHERE e.state = 'completed' AND e.level = 'group' AND e.delete_requested_at IS NULL AND e.purpose = 'export'
                ORDER BY e.group_id, e.source_id, e.created_at DESC, e.id DESC) e
            ORDER BY e.group_id, e.id LIMIT $1"#,
        most
    )
    .fetch_all(db)
    .await
}

/// What is loaded so far, by resource type: of an export that is under way.
pub async fn loaded_so_far(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<Vec<(Option<String>, i64)>> {
    Ok(sqlx::query!(
        r#"SELECT f.resource_type, sum(p.rows)::bigint AS "rows!"
             FROM bulkhead.export_files f JOIN bulkhead.file_parts p ON p.file_id = f.id
            WHERE f.export_id = $1 AND f.kind = 'output' AND p.rows > 0 GROUP BY 1 ORDER BY 1"#,
        export_id
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| (row.resource_type, row.rows))
    .collect())
}

/// Columns of a summary, as they are stored.
#[derive(Debug)]
pub struct Columns {
    pub kind: String,
    pub code: Option<String>,
    pub display: Option<String>,
    pub unit: Option<String>,
    pub people: Vec<u8>,
    pub days: Vec<u8>,
    /// Only where they were asked for.
    pub vals: Vec<u8>,
    /// Whether any record has a value.
    pub valued: bool,
}

/// The columns of these kinds; those of a code are next to each other.
pub fn columns<'c>(pool: &'c PgPool, summary_id: Uuid, kinds: &'c [String]) -> BoxStream<'c, sqlx::Result<Columns>> {
    sqlx::query_as!(
        Columns,
        r#"SELECT kind, code, display, unit, people, days, ''::bytea AS "vals!", octet_length(vals) > 0 AS "valued!"
             FROM bulkhead.summary_columns WHERE summary_id = $1 AND kind = ANY($2) ORDER BY kind, code COLLATE "C""#,
        summary_id,
        kinds
    )
    .fetch(pool)
}

/// The columns of these codes of a kind, with values if these are wanted; a code that is NULL: those without one.
pub fn columns_of<'c>(
    pool: &'c PgPool,
    summary_id: Uuid,
    kind: Kind,
    codes: &'c [Option<String>],
    values: bool,
) -> BoxStream<'c, sqlx::Result<Columns>> {
    sqlx::query_as!(
        Columns,
        r#"SELECT kind, code, display, unit, people, days, CASE WHEN $4 THEN vals ELSE ''::bytea END AS "vals!", octet_length(vals) > 0 AS "valued!"
             FROM bulkhead.summary_columns
            WHERE summary_id = $1 AND kind = $2
              AND (code = ANY($3) OR (code IS NULL AND array_position($3::text[], NULL) IS NOT NULL))
            ORDER BY unit COLLATE "C""#,
        summary_id,
        kind.as_str(),
        codes as &[Option<String>],
        values
    )
    .fetch(pool)
}

/// The resource types of an export that was summed up, with the number of each; the most frequent first.
pub async fn resource_types(db: impl PgExecutor<'_>, summary_id: Uuid) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT CASE kind WHEN 'patient' THEN 'Patient' WHEN 'condition' THEN 'Condition' WHEN 'encounter' THEN 'Encounter'
                            WHEN 'observation' THEN 'Observation' WHEN 'medication' THEN 'MedicationRequest' ELSE code END AS "name!",
                  sum(records)::bigint AS "records!"
             FROM bulkhead.summary_columns WHERE summary_id = $1 GROUP BY 1 ORDER BY 2 DESC, 1"#,
        summary_id
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.records)).collect())
}
