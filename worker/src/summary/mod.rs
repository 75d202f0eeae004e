//! An export's rows, summed up: one pass over each of its tables, a record at a time, into columns that are kept by code. What is in memory
//! is who there is, and a few megabytes.

mod columns;
mod people;
mod record;

use bulkhead_shared::{
    db::summaries,
    domain::{resource::R4_TYPES, summary::Kind},
};
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use columns::Columns;
use people::People;
use record::Record;

/// What is kept in memory before it is written.
const MOST: usize = 32 << 20;

/// What an export comes to.
#[derive(Debug)]
pub struct Summed {
    pub people: i32,
    pub records: i64,
}

/// Reads on one connection and writes, in the transaction that is open there, on the other.
pub async fn sum_up(from: &mut PgConnection, to: &mut PgConnection, export_id: Uuid, summary_id: Uuid) -> sqlx::Result<Summed> {
    let mut people = People::default();
    let mut records = 0;
    // Patients first, so that their numbers are dense.
    let mut tables: Vec<(&str, &str)> = R4_TYPES.iter().map(|(name, table)| (*name, *table)).chain([("", "other_resources")]).collect();
    tables.sort_by_key(|(_, table)| *table != "patients");
    for (name, table) in tables {
        let (kind, select) = what(table);
        let mut columns = Columns::of(kind);
        let statement = format!("COPY (SELECT {select} FROM fhir.{table} WHERE etl_job_id = '{export_id}') TO STDOUT (FORMAT binary)");
        let mut rows = from.copy_out_raw(&statement).await?;
        while let Some(message) = rows.try_next().await? {
            let Some(mut record) = Record::read(&message)? else { continue };
            if kind == Kind::Resource && table != "other_resources" {
                record.code = Some(name);
            }
            let person = record.patient_id.map_or(Ok(summaries::NOBODY), |id| people.number(id))?;
            columns.push(person, &record);
            records += 1;
            if columns.bytes() >= MOST {
                summaries::add_columns(to, summary_id, columns.take()).await?;
            }
        }
        summaries::add_columns(to, summary_id, columns.take()).await?;
    }
    Ok(Summed { people: people.count(), records })
}

/// What is read of a table: whom it is about, code, display, unit, day and value.
fn what(table: &str) -> (Kind, String) {
    let day = |column: &str| format!("(({column} AT TIME ZONE 'UTC')::date - date '1970-01-01')::int4");
    let none = "NULL::text";
    let concept = |at: &str| format!("patient_id, code, display, {none}, {}, NULL::float8", day(at));
    match table {
        "patients" => (Kind::Patient, format!("patient_id, gender, {none}, {none}, (birth_date - date '1970-01-01')::int4, NULL::float8")),
        "conditions" => (Kind::Condition, concept("onset")),
        "encounters" => (Kind::Encounter, format!("patient_id, class, {none}, {none}, {}, NULL::float8", day("period_start"))),
        "observations" => (Kind::Observation, format!("patient_id, code, display, unit, {}, value", day("effective"))),
        "medication_requests" => (Kind::Medication, concept("authored_on")),
        "other_resources" => (Kind::Resource, format!("patient_id, resource_type, {none}, {none}, NULL::int4, NULL::float8")),
        _ => (Kind::Resource, format!("patient_id, {none}, {none}, {none}, NULL::int4, NULL::float8")),
    }
}
