//! The charts, counted together in one pass over the columns of each export.

use std::collections::BTreeMap;

use bulkhead_shared::{
    db::summaries::{Columns, Summarised},
    domain::summary::Kind,
};
use chrono::NaiveDate;

use super::{
    answer::Measured,
    chosen::{Chosen, ages},
    count::{ByCode, Days, People},
    filters::{Dimension, Picked},
    period::By,
    question::{Bands, Question},
    table::{Cell, Table},
    values::Values,
};

/// The types that have a chart of their own. Those of them that are only counted are left out there.
const IN_CHARTS: [&str; 4] = ["Condition", "Encounter", "Observation", "MedicationRequest"];

const CODED: &[&str] = &["job_id", "code", "display", "people", "records"];

/// A band of ages: from and to; nothing: not given.
type Band = Option<(i32, Option<i32>)>;

/// What is counted so far.
#[derive(Debug)]
pub struct Charts {
    by: By,
    bands: Bands,
    top: usize,
    jobs: Vec<String>,
    as_of: NaiveDate,
    totals: Vec<[i64; 6]>,
    resources: ByCode,
    pyramid: BTreeMap<(usize, Picked, Band), i64>,
    conditions: ByCode,
    encounters: BTreeMap<(usize, Option<i32>, Picked), i64>,
    observations: ByCode,
    medications: ByCode,
    measured: BTreeMap<Picked, Measured>,
    /// What observations are called, whoever has them.
    named: BTreeMap<Picked, String>,
    values: Values,
    /// The observation whose values these are.
    pub values_of: Option<Picked>,
}

impl Charts {
    pub fn new(question: &Question) -> Self {
        Self {
            by: question.by,
            bands: question.bands,
            top: question.top,
            jobs: Vec::new(),
            as_of: NaiveDate::default(),
            totals: Vec::new(),
            resources: ByCode::new("resources", &["job_id", "resource_type", "people", "records"], Dimension::RESOURCE),
            pyramid: BTreeMap::new(),
            conditions: ByCode::new("conditions", CODED, Dimension::CONDITION),
            encounters: BTreeMap::new(),
            observations: ByCode::new("observations", CODED, Dimension::OBSERVATION),
            medications: ByCode::new("medications", CODED, Dimension::MEDICATION),
            measured: BTreeMap::new(),
            named: BTreeMap::new(),
            values: Values::new(question.by),
            values_of: None,
        }
    }

    /// What is added next is of this export.
    pub fn begin(&mut self, export: &Summarised, chosen: &Chosen) {
        self.jobs.push(export.export_id.to_string());
        self.as_of = export.as_of.unwrap_or_default();
        let people = i64::from(export.people.unwrap_or_default());
        self.totals.push([people, chosen.count(), export.records.unwrap_or_default(), 0, 0, people]);
        for counted in [&mut self.resources, &mut self.conditions, &mut self.observations, &mut self.medications] {
            counted.begin(chosen.people());
        }
    }

    pub fn add(&mut self, columns: &Columns, chosen: &Chosen) -> sqlx::Result<()> {
        let kind: Kind = columns.kind.parse()?;
        let (code, display) = (columns.code.as_deref(), columns.display.as_deref());
        if columns.valued && matches!(kind, Kind::Observation | Kind::Component) {
            let whole = if kind == Kind::Observation { &columns.code } else { &columns.part_of };
            self.measured.entry(whole.clone()).or_insert_with(|| Measured::of(whole)).records += People::of(columns).count();
        }
        if kind == Kind::Observation
            && let Some(display) = display
        {
            let known = self.named.entry(columns.code.clone()).or_insert_with(|| display.to_owned());
            if display < known.as_str() {
                display.clone_into(known);
            }
        }
        if kind == Kind::Component {
            return Ok(());
        }
        self.resources.add(Some(&columns.resource_type), None, columns, chosen);
        let export = self.totals.len() - 1;
        let count = |records: usize| i64::try_from(records).unwrap_or(i64::MAX);
        self.totals[export][3] += count(People::of(columns).filter(|person| chosen.counts(*person, Dimension::NONE)).count());
        match kind {
            Kind::Patient => {
                self.totals[export][5] -= count(People::of(columns).count());
                self.add_people(export, columns, chosen);
            }
            Kind::Encounter => self.add_encounters(export, columns, chosen),
            Kind::Condition => self.conditions.add(code, display, columns, chosen),
            Kind::Medication => self.medications.add(code, display, columns, chosen),
            Kind::Observation => self.observations.add(code, display, columns, chosen),
            Kind::Resource if IN_CHARTS.contains(&columns.resource_type.as_str()) => {
                self.totals[export][4] += count(People::of(columns).count());
            }
            Kind::Resource | Kind::Component => {}
        }
        Ok(())
    }

    fn add_people(&mut self, export: usize, columns: &Columns, chosen: &Chosen) {
        let mut bands: BTreeMap<Band, i64> = BTreeMap::new();
        for (person, age) in People::of(columns).zip(ages(columns, self.as_of)) {
            if chosen.counts(person, Dimension::PERSON) {
                *bands.entry(age.map(|age| self.bands.of(age))).or_default() += 1;
            }
        }
        for (band, people) in bands {
            *self.pyramid.entry((export, columns.code.clone(), band)).or_default() += people;
        }
    }

    fn add_encounters(&mut self, export: usize, columns: &Columns, chosen: &Chosen) {
        let mut periods: BTreeMap<Option<i32>, i64> = BTreeMap::new();
        for (person, day) in People::of(columns).zip(Days::of(columns)) {
            if chosen.counts(person, Dimension::ENCOUNTER) {
                *periods.entry(self.by.period(day)).or_default() += 1;
            }
        }
        for (period, records) in periods {
            *self.encounters.entry((export, period, columns.code.clone())).or_default() += records;
        }
    }

    /// The observation with the most values: what is shown where nobody chose.
    pub fn most_measured(&self) -> Option<Picked> {
        self.measured.iter().max_by_key(|(_, measured)| measured.records).map(|(code, _)| code.clone())
    }

    /// The observations that have values, those with the most first.
    pub fn measured(&self) -> Vec<Measured> {
        let mut all: Vec<Measured> = self.measured.values().cloned().collect();
        all.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.code.cmp(&b.code)));
        for measured in &mut all {
            measured.display = self.named.get(&measured.code).cloned();
        }
        all
    }

    /// Adds values of an observation, of an export by its place.
    pub fn add_values(&mut self, export: usize, columns: &Columns, chosen: &Chosen) {
        self.values.add(export, columns, chosen);
    }

    /// The unit that most of these values have.
    pub fn unit(&self) -> Option<String> {
        self.values.unit()
    }

    /// All charts, in the order of `CHARTS`.
    pub fn tables(self) -> Vec<Table> {
        let jobs = self.jobs;
        let mut totals =
            Table::new("totals", &["job_id", "people", "people_chosen", "records", "records_chosen", "left_out", "only_referred_to"]);
        for (job, counts) in jobs.iter().zip(self.totals) {
            totals.rows.push(std::iter::once(Cell::Text(job.clone())).chain(counts.map(Cell::Count)).collect());
        }
        let mut people = Table::new("people", &["job_id", "gender", "age_from", "age_to", "people"]);
        for ((export, gender, band), count) in self.pyramid {
            let (from, to) = (band.map(|band| band.0), band.and_then(|band| band.1));
            people.rows.push(vec![Cell::Text(jobs[export].clone()), gender.as_deref().into(), from.into(), to.into(), count.into()]);
        }
        let mut encounters = Table::new("encounters", &["job_id", "period", "class", "records"]);
        for ((export, period, class), count) in self.encounters {
            let period = period.map(|period| self.by.write(period));
            encounters.rows.push(vec![Cell::Text(jobs[export].clone()), period.as_deref().into(), class.as_deref().into(), count.into()]);
        }
        let (histogram, trend) = self.values.tables(&jobs);
        vec![
            totals,
            self.resources.table(&jobs, usize::MAX),
            people,
            self.conditions.table(&jobs, self.top),
            encounters,
            self.observations.table(&jobs, self.top),
            self.medications.table(&jobs, self.top),
            histogram,
            trend,
        ]
    }
}
