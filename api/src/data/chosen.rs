//! Who was chosen: a byte for each person of an export, a bit for each filter that they meet.

use bulkhead_shared::{
    db::summaries::{self, Columns, Summarised},
    domain::summary::Kind,
};
use chrono::NaiveDate;
use futures::TryStreamExt as _;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    count::{Days, People},
    filters::{Dimension, Filters, Picked},
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
    pub async fn find(pool: &PgPool, filters: &Filters, export: &Summarised) -> sqlx::Result<Self> {
        let id = export.summary_id.unwrap_or_default();
        let people = usize::try_from(export.people.unwrap_or_default()).unwrap_or_default();
        let mut chosen = Self { met: vec![0; people], required: filters.active() };
        if chosen.filters(Dimension::PERSON) {
            let as_of = export.as_of.unwrap_or_default();
            let fits = |columns: &Columns, day| filters.gender(columns.code.as_deref()) && filters.age(age(day, as_of));
            chosen.mark_all(pool, id, Kind::Patient, Dimension::PERSON, fits).await?;
        }
        if chosen.filters(Dimension::ENCOUNTER) {
            let fits = |columns: &Columns, day| filters.class(columns.code.as_deref()) && filters.day(day);
            chosen.mark_all(pool, id, Kind::Encounter, Dimension::ENCOUNTER, fits).await?;
        }
        for (dimension, kind, codes) in [
            (Dimension::CONDITION, Kind::Condition, &filters.conditions),
            (Dimension::OBSERVATION, Kind::Observation, &filters.observations),
            (Dimension::MEDICATION, Kind::Medication, &filters.medications),
        ] {
            chosen.mark_codes(pool, id, kind, dimension, codes).await?;
        }
        for name in &filters.resource_types {
            match Kind::ALL.iter().find(|kind| kind.resource_type() == Some(name)) {
                Some(kind) => chosen.mark_all(pool, id, *kind, Dimension::RESOURCE, |_, _| true).await?,
                None => chosen.mark_codes(pool, id, Kind::Resource, Dimension::RESOURCE, &[Some(name.clone())]).await?,
            }
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

    async fn mark_all(
        &mut self,
        pool: &PgPool,
        summary_id: Uuid,
        kind: Kind,
        dimension: Dimension,
        fits: impl Fn(&Columns, i32) -> bool,
    ) -> sqlx::Result<()> {
        let kinds = [kind.as_str().to_owned()];
        let mut columns = summaries::columns(pool, summary_id, &kinds);
        while let Some(columns) = columns.try_next().await? {
            for (person, day) in People::of(&columns).zip(Days::of(&columns)) {
                if fits(&columns, day) {
                    self.mark(person, dimension);
                }
            }
        }
        Ok(())
    }

    async fn mark_codes(
        &mut self,
        pool: &PgPool,
        summary_id: Uuid,
        kind: Kind,
        dimension: Dimension,
        codes: &[Picked],
    ) -> sqlx::Result<()> {
        if codes.is_empty() {
            return Ok(());
        }
        let mut columns = summaries::columns_of(pool, summary_id, kind, codes, false);
        while let Some(columns) = columns.try_next().await? {
            for person in People::of(&columns) {
                self.mark(person, dimension);
            }
        }
        Ok(())
    }
}

/// Completed years at a day. `None`: not given, or born later.
pub fn age(birth: i32, as_of: NaiveDate) -> Option<i32> {
    as_of.years_since(period::date(birth)?).map(u32::cast_signed)
}
