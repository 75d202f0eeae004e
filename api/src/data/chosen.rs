//! Who was chosen: a byte for each person of an export, a bit for each filter that they meet.

use bulkhead_shared::{
    db::summaries::{self, Columns, Summarised},
    domain::summary::Kind,
};
use chrono::NaiveDate;
use futures::{TryStreamExt as _, stream::BoxStream};
use sqlx::PgConnection;

use super::{
    count::{Days, Numbers, People},
    filters::{Dimension, Filters},
    period,
};

/// The people of one export.
#[derive(Debug)]
pub struct Chosen {
    met: Vec<u8>,
    /// All filters in force.
    required: u8,
}

impl Chosen {
    /// Finds who meets which filter. Reads only what the filters are about.
    pub async fn find(db: &mut PgConnection, filters: &Filters, export: &Summarised) -> sqlx::Result<Self> {
        let id = export.summary_id.unwrap_or_default();
        let people = usize::try_from(export.people.unwrap_or_default()).unwrap_or_default();
        let mut chosen = Self { met: vec![0; people], required: filters.active() };
        if chosen.filters(Dimension::PERSON) {
            let as_of = export.as_of.unwrap_or_default();
            let mut patients = summaries::columns(&mut *db, id, &[Kind::Patient]);
            while let Some(columns) = patients.try_next().await? {
                for (person, age) in People::of(&columns).zip(ages(&columns, as_of)) {
                    if filters.gender(columns.code.as_deref()) && filters.age(age) {
                        chosen.mark(person, Dimension::PERSON);
                    }
                }
            }
        }
        if chosen.filters(Dimension::ENCOUNTER) {
            let mut encounters = summaries::columns(&mut *db, id, &[Kind::Encounter]);
            while let Some(columns) = encounters.try_next().await? {
                for (person, day) in People::of(&columns).zip(Days::of(&columns)) {
                    if filters.class(columns.code.as_deref()) && filters.day(day) {
                        chosen.mark(person, Dimension::ENCOUNTER);
                    }
                }
            }
        }
        for (dimension, kind, codes) in [
            (Dimension::CONDITION, Kind::Condition, &filters.conditions),
            (Dimension::OBSERVATION, Kind::Observation, &filters.observations),
            (Dimension::MEDICATION, Kind::Medication, &filters.medications),
        ] {
            if chosen.filters(dimension) {
                chosen.mark_all(summaries::people_of_codes(&mut *db, id, kind, codes), dimension).await?;
            }
        }
        if chosen.filters(Dimension::RESOURCE) {
            chosen.mark_all(summaries::people_of_types(&mut *db, id, &filters.resource_types), Dimension::RESOURCE).await?;
        }
        Ok(chosen)
    }

    /// Whether this record counts in a chart: of a person who meets all filters but the chart's own. Where nothing is filtered, records
    /// of nobody count too.
    pub fn counts(&self, person: i32, own: Dimension) -> bool {
        let required = self.required & !own.bit();
        required == 0 || usize::try_from(person).ok().and_then(|person| self.met.get(person)).is_some_and(|met| met & required == required)
    }

    pub fn people(&self) -> usize {
        self.met.len()
    }

    /// How many people meet all filters.
    pub fn count(&self) -> i64 {
        let count = self.met.iter().filter(|met| **met & self.required == self.required).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn filters(&self, dimension: Dimension) -> bool {
        self.required & dimension.bit() != 0
    }

    fn mark(&mut self, person: i32, dimension: Dimension) {
        if let Some(met) = usize::try_from(person).ok().and_then(|person| self.met.get_mut(person)) {
            *met |= dimension.bit();
        }
    }

    async fn mark_all(&mut self, mut people: BoxStream<'_, sqlx::Result<Vec<u8>>>, dimension: Dimension) -> sqlx::Result<()> {
        while let Some(people) = people.try_next().await? {
            for person in People::read(&people) {
                self.mark(person, dimension);
            }
        }
        Ok(())
    }
}

/// The age of each patient: completed years at a day, or at the day they died if that was before.
pub fn ages(patients: &Columns, as_of: NaiveDate) -> impl Iterator<Item = Option<i32>> {
    let as_of = as_of.to_epoch_days();
    Days::of(patients).zip(Numbers::of(patients)).map(move |(birth, death)| age(birth, f64::from(as_of).min(death)))
}

/// `None`: not given, or born later.
#[expect(clippy::cast_possible_truncation, reason = "a day")]
fn age(birth: i32, at: f64) -> Option<i32> {
    NaiveDate::from_epoch_days(at as i32)?.years_since(period::date(birth)?).map(u32::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> i32 {
        text.parse::<NaiveDate>().unwrap().to_epoch_days()
    }

    #[test]
    fn ages_are_completed_years_and_end_with_a_life() {
        let as_of = f64::from(day("2020-06-01"));
        for (birth, at, years) in [
            (day("1980-06-01"), as_of.min(f64::NAN), Some(40)),
            (day("1980-06-02"), as_of.min(f64::NAN), Some(39)),
            (day("1980-06-02"), as_of.min(day("2000-06-02").into()), Some(20)),
            (day("1980-06-01"), as_of.min(day("2030-01-01").into()), Some(40)),
            (day("2020-06-02"), as_of, None),
            (summaries::NOT_GIVEN, as_of, None),
        ] {
            assert_eq!(age(birth, at), years, "{birth} {at}");
        }
    }
}
