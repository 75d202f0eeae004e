//! Tables `summaries` and `summary_columns`: what the data page shows of an export that has ended. A summary counts for the end of the
//! export that it was made after, and for no other.

use chrono::{DateTime, NaiveDate, Utc};
use futures::stream::BoxStream;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::rows_of_patients;
use crate::domain::summary::Kind;

/// The number of a record that is about nobody who is known.
pub const NOBODY: i32 = -1;
/// A day that was not given.
pub const NOT_GIVEN: i32 = i32::MIN;

/// Records of one kind, code and unit, to be written. `migrations/0050_summaries.sql` says what is in the columns.
#[derive(Debug)]
pub struct NewColumns {
    pub kind: Kind,
    pub resource_type: String,
    pub code: Option<String>,
    pub display: Option<String>,
    pub unit: Option<String>,
    pub part_of: Option<String>,
    pub records: usize,
    pub people: Vec<u8>,
    pub days: Vec<u8>,
    pub vals: Vec<u8>,
}

impl NewColumns {
    /// None yet.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self {
            kind,
            resource_type: String::new(),
            code: None,
            display: None,
            unit: None,
            part_of: None,
            records: 0,
            people: Vec::new(),
            days: Vec::new(),
            vals: Vec::new(),
        }
    }
}

/// Writes columns of a summary that `keep` will complete in the same transaction.
pub async fn add_columns(db: &mut PgConnection, summary_id: Uuid, columns: Vec<NewColumns>) -> sqlx::Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let kinds: Vec<String> = columns.iter().map(|c| c.kind.as_str().to_owned()).collect();
    let records: Vec<i32> = columns.iter().map(|c| i32::try_from(c.records).unwrap_or(i32::MAX)).collect();
    let (mut types, mut codes, mut displays, mut units, mut wholes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut people, mut days, mut vals) = (Vec::new(), Vec::new(), Vec::new());
    for column in columns {
        types.push(column.resource_type);
        codes.push(column.code);
        displays.push(column.display);
        units.push(column.unit);
        wholes.push(column.part_of);
        people.push(column.people);
        days.push(column.days);
        vals.push(column.vals);
    }
    sqlx::query!(
        "INSERT INTO bulkhead.summary_columns (summary_id, kind, resource_type, code, display, unit, part_of, records, people, days, vals)
         SELECT $1, n.* FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::bytea[],
                                    $10::bytea[], $11::bytea[]) n",
        summary_id,
        &kinds,
        &types,
        &codes as &[Option<String>],
        &displays as &[Option<String>],
        &units as &[Option<String>],
        &wholes as &[Option<String>],
        &records,
        &people,
        &days,
        &vals
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether rows of an export are being loaded.
pub async fn loads_run(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'load' AND state = 'running') AS "run!""#,
        export_id
    )
    .fetch_one(db)
    .await
}

/// A summary whose columns are written.
#[derive(Debug, Clone)]
pub struct NewSummary {
    pub id: Uuid,
    pub export_id: Uuid,
    /// The end of the export before its rows were read.
    pub of_end: DateTime<Utc>,
    /// The day of the server's data; without it that of the export.
    pub as_of: Option<NaiveDate>,
    pub people: i32,
    pub records: i64,
}

/// Completes a summary, instead of the export's earlier one. `false`: the export went on meanwhile, or is being deleted, or rows of it are
/// still being loaded, and what was written is removed. The caller holds the export's lock.
pub async fn keep(db: &mut PgConnection, summary: &NewSummary) -> sqlx::Result<bool> {
    sqlx::query!("DELETE FROM bulkhead.summaries WHERE export_id = $1", summary.export_id).execute(&mut *db).await?;
    let kept = sqlx::query!(
        "INSERT INTO bulkhead.summaries (id, export_id, of_end, as_of, people, records)
         SELECT $1, e.id, e.finished_at, coalesce($6, (e.created_at AT TIME ZONE 'UTC')::date), $4, $5
           FROM bulkhead.exports e
          WHERE e.id = $2 AND e.finished_at = $3 AND e.delete_requested_at IS NULL
            AND NOT EXISTS (SELECT FROM bulkhead.stages s WHERE s.export_id = e.id AND s.kind = 'load' AND s.state = 'running')",
        summary.id,
        summary.export_id,
        summary.of_end,
        summary.people,
        summary.records,
        summary.as_of
    )
    .execute(&mut *db)
    .await?;
    if kept.rows_affected() == 1 {
        return Ok(true);
    }
    sqlx::query!("DELETE FROM bulkhead.summary_columns WHERE summary_id = $1", summary.id).execute(&mut *db).await?;
    rows_of_patients::remove(db, summary.id).await?;
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
    /// What it was asked for.
    pub resource_types: Vec<String>,
    pub since: Option<String>,
    /// It was asked for with filters or elements of its own.
    pub filtered: bool,
    /// Its gaps were accepted.
    pub accepted_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub summary_id: Option<Uuid>,
    pub as_of: Option<NaiveDate>,
    pub people: Option<i32>,
    pub records: Option<i64>,
    /// It could not be made of the present end, and no attempt is left.
    pub given_up: bool,
}

/// Some exports, in the order of their ids in `ids`. One that is not there, or is being deleted, is left out.
pub async fn of(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<Summarised>> {
    sqlx::query_as!(
        Summarised,
        r#"SELECT e.id AS export_id, e.source_id, s.base_url, e.level, e.group_id, e.state, e.resource_types, e.since, e.parameters <> '{}' AS "filtered!", e.accepted_at, e.created_at, e.finished_at,
                  m.id AS "summary_id?", m.as_of AS "as_of?", m.people AS "people?", m.records AS "records?",
                  EXISTS (SELECT FROM bulkhead.stages t WHERE t.export_id = e.id AND t.kind = 'summarise' AND t.state = 'dead'
                                                          AND t.finished_at >= e.finished_at) AS "given_up!"
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

/// The latest completed export of each Group, a whole one if there is any (all types, all times, no filter), at most `most`, Groups in the order of their names; and how many Groups there are.
pub async fn latest_of_groups(db: impl PgExecutor<'_>, most: i64) -> sqlx::Result<(Vec<Uuid>, i64)> {
    let found = sqlx::query!(
        r#"SELECT e.id AS "id!", count(*) OVER () AS "groups!" FROM (
               SELECT DISTINCT ON (e.group_id, e.source_id) e.id, e.group_id
                 FROM bulkhead.exports e
                WHERE e.state = 'completed' AND e.level = 'group' AND e.delete_requested_at IS NULL AND e.purpose = 'export'
                ORDER BY e.group_id, e.source_id, (e.since IS NULL AND e.resource_types = '{}' AND e.parameters = '{}') DESC, e.created_at DESC, e.id DESC) e
            ORDER BY e.group_id, e.id LIMIT $1"#,
        most
    )
    .fetch_all(db)
    .await?;
    let groups = found.first().map_or(0, |first| first.groups);
    Ok((found.into_iter().map(|export| export.id).collect(), groups))
}

/// Exports that have rows, or are getting some, newest first; of the newest thousand.
pub async fn with_rows(db: impl PgExecutor<'_>, most: i64) -> sqlx::Result<Vec<WithRows>> {
    sqlx::query_as!(
        WithRows,
        r#"SELECT e.id, e.level, e.group_id, e.state, e.created_at, p.rows AS "rows!"
             FROM (SELECT id, level, group_id, state, created_at FROM bulkhead.exports
                    WHERE delete_requested_at IS NULL AND purpose = 'export' ORDER BY created_at DESC, id DESC LIMIT 1000) e
            CROSS JOIN LATERAL (SELECT sum(p.rows)::bigint AS rows
                                  FROM bulkhead.file_parts p JOIN bulkhead.export_files f ON f.id = p.file_id
                                 WHERE p.export_id = e.id AND f.kind = 'output') p
            WHERE p.rows > 0
            ORDER BY e.created_at DESC, e.id DESC LIMIT $1"#,
        most
    )
    .fetch_all(db)
    .await
}

/// An export that has rows.
#[derive(Debug)]
pub struct WithRows {
    pub id: Uuid,
    pub level: String,
    pub group_id: Option<String>,
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub rows: i64,
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
    pub resource_type: String,
    pub code: Option<String>,
    pub display: Option<String>,
    pub unit: Option<String>,
    pub part_of: Option<String>,
    pub people: Vec<u8>,
    pub days: Vec<u8>,
    /// Of patients, and where they were asked for.
    pub vals: Vec<u8>,
    /// Whether any record has a value.
    pub valued: bool,
}

/// The columns of these kinds. Those of a type are next to each other, and among them those of a code.
pub fn columns<'c>(db: &'c mut PgConnection, summary_id: Uuid, kinds: &[Kind]) -> BoxStream<'c, sqlx::Result<Columns>> {
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    sqlx::query_as!(
        Columns,
        r#"SELECT kind, resource_type, code, display, unit, part_of, people, days, CASE WHEN kind = 'patient' THEN vals ELSE ''::bytea END AS "vals!",
                  octet_length(vals) > 0 AS "valued!"
             FROM bulkhead.summary_columns WHERE summary_id = $1 AND kind = ANY($2)
            ORDER BY resource_type COLLATE "C", kind, code COLLATE "C""#,
        summary_id,
        &kinds
    )
    .fetch(db)
}

/// Who has something of these codes of a kind; a code that is NULL: something without one.
pub fn people_of_codes<'c>(
    db: &'c mut PgConnection,
    summary_id: Uuid,
    kind: Kind,
    codes: &'c [Option<String>],
) -> BoxStream<'c, sqlx::Result<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT people FROM bulkhead.summary_columns
          WHERE summary_id = $1 AND kind = $2 AND (code = ANY($3) OR (code IS NULL AND array_position($3::text[], NULL) IS NOT NULL))",
        summary_id,
        kind.as_str(),
        codes as &[Option<String>]
    )
    .fetch(db)
}

/// Who has a resource of one of these types.
pub fn people_of_types<'c>(db: &'c mut PgConnection, summary_id: Uuid, types: &'c [String]) -> BoxStream<'c, sqlx::Result<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT people FROM bulkhead.summary_columns WHERE summary_id = $1 AND resource_type = ANY($2) AND kind <> 'component'",
        summary_id,
        types
    )
    .fetch(db)
}

/// The values of the observations of a code (NULL: of those without one), and of their parts.
pub fn values<'c>(db: &'c mut PgConnection, summary_id: Uuid, code: Option<&'c str>) -> BoxStream<'c, sqlx::Result<Columns>> {
    sqlx::query_as!(
        Columns,
        r#"SELECT kind, resource_type, code, display, unit, part_of, people, days, vals, octet_length(vals) > 0 AS "valued!"
             FROM bulkhead.summary_columns
            WHERE summary_id = $1 AND octet_length(vals) > 0
              AND ((kind = 'observation' AND code IS NOT DISTINCT FROM $2) OR (kind = 'component' AND part_of IS NOT DISTINCT FROM $2))
            ORDER BY kind DESC, code COLLATE "C", unit COLLATE "C""#,
        summary_id,
        code
    )
    .fetch(db)
}

/// The resource types of an export that was summed up, with the number of each; the most frequent first.
pub async fn resource_types(db: impl PgExecutor<'_>, summary_id: Uuid) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT resource_type, sum(records)::bigint AS "records!"
             FROM bulkhead.summary_columns WHERE summary_id = $1 AND kind <> 'component' GROUP BY 1 ORDER BY 2 DESC, 1"#,
        summary_id
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.resource_type, row.records)).collect())
}
