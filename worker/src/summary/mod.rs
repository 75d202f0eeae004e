//! An export's rows, summed up: one pass over each of its tables, a record at a time, into columns that are kept by code. What is in memory
//! is who there is, and a few megabytes.

mod columns;
mod people;
mod record;
mod statements;

use bulkhead_shared::{
    db::{rows_of_patients, summaries},
    domain::{resource::R4_TYPES, summary::Kind},
};
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use columns::Columns;
use people::People;
use record::Record;

use crate::load::parse_instant;

/// The table that all types share that R4 does not know: its rows say their type.
const OTHERS: &str = "other_resources";
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
    let mut tables: Vec<(&str, &str)> = R4_TYPES.iter().map(|(name, table)| (*name, *table)).chain([("", OTHERS)]).collect();
    tables.sort_by_key(|(_, table)| *table != "patients");
    for (name, table) in tables {
        let (mut have_parts, mut have_people) = (false, false);
        for (kind, select) in statements::of(table, export_id) {
            if kind == Kind::Component && !have_parts {
                continue;
            }
            let (mut columns, mut only_counted) = (Columns::of(kind), Columns::of(Kind::Resource));
            let mut rows = from.copy_out_raw(&format!("COPY ({select}) TO STDOUT (FORMAT binary)")).await?;
            while let Some(message) = rows.try_next().await? {
                let Some(mut record) = Record::read(&message)? else { continue };
                let person = record.patient_id.map_or(Ok(summaries::NOBODY), |id| people.number(id))?;
                have_people |= record.patient_id.is_some();
                records += i64::from(kind != Kind::Component);
                if kind == Kind::Observation {
                    have_parts |= record.part_of.take().is_some();
                }
                if record.void || (kind == Kind::Resource && table != OTHERS) {
                    only_counted.push(person, &Record { code: Some(name), ..Record::default() });
                } else {
                    if kind == Kind::Patient {
                        set_death(&mut record);
                    }
                    columns.push(person, &record);
                }
                if columns.bytes() + only_counted.bytes() >= MOST {
                    summaries::add_columns(to, summary_id, columns.take()).await?;
                    summaries::add_columns(to, summary_id, only_counted.take()).await?;
                }
            }
            summaries::add_columns(to, summary_id, columns.take()).await?;
            summaries::add_columns(to, summary_id, only_counted.take()).await?;
        }
        if have_people {
            rows_of_patients::add(to, summary_id, export_id, table, name).await?;
        }
    }
    Ok(Summed { people: people.count(), records })
}

/// Whoever died on a day that nobody says has no age. A death that is only a year may lie before a birth in it.
fn set_death(patient: &mut Record<'_>) {
    let Some(text) = patient.unit.take() else { return };
    match parse_instant(text) {
        Some(died) => patient.value = Some(died.date_naive().to_epoch_days().max(patient.day.unwrap_or(i32::MIN)).into()),
        None => patient.day = None,
    }
}
