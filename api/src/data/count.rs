//! Reads columns as they are stored, and counts by code.

use std::collections::HashMap;

use bulkhead_shared::db::summaries::{Columns, NOT_GIVEN};

use super::{
    chosen::Chosen,
    filters::{Dimension, Picked},
    table::{Cell, Table},
};

/// The person of each record.
pub struct People<'a>(std::slice::Iter<'a, [u8; 4]>);

impl<'a> People<'a> {
    pub fn of(columns: &'a Columns) -> Self {
        Self::read(&columns.people)
    }

    pub fn read(people: &'a [u8]) -> Self {
        Self(people.as_chunks().0.iter())
    }
}

impl Iterator for People<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        self.0.next().map(|bytes| i32::from_le_bytes(*bytes))
    }
}

/// The day of each record; without end where no record has one.
pub struct Days<'a>(std::slice::Iter<'a, [u8; 4]>);

impl<'a> Days<'a> {
    pub fn of(columns: &'a Columns) -> Self {
        Self(columns.days.as_chunks().0.iter())
    }
}

impl Iterator for Days<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        Some(self.0.next().map_or(NOT_GIVEN, |bytes| i32::from_le_bytes(*bytes)))
    }
}

/// The value of each record, NaN: not given; without end where no record has one.
pub struct Numbers<'a>(std::slice::Iter<'a, [u8; 8]>);

impl<'a> Numbers<'a> {
    pub fn of(columns: &'a Columns) -> Self {
        Self(columns.vals.as_chunks().0.iter())
    }
}

impl Iterator for Numbers<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        Some(self.0.next().map_or(f64::NAN, |bytes| f64::from_le_bytes(*bytes)))
    }
}

/// Who was met already: cleared in no time.
#[derive(Debug, Default)]
pub struct Seen {
    stamps: Vec<u32>,
    stamp: u32,
}

impl Seen {
    /// For an export of so many people.
    pub fn begin(&mut self, people: usize) {
        self.stamps.clear();
        self.stamps.resize(people, 0);
        self.stamp = 1;
    }

    fn clear(&mut self) {
        self.stamp += 1;
    }

    /// Whether it is somebody for the first time.
    fn is_new(&mut self, person: i32) -> bool {
        let Some(stamp) = usize::try_from(person).ok().and_then(|person| self.stamps.get_mut(person)) else { return false };
        std::mem::replace(stamp, self.stamp) != self.stamp
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    people: i64,
    records: i64,
}

/// People and records by code, of each export.
#[derive(Debug)]
pub struct ByCode {
    name: &'static str,
    columns: &'static [&'static str],
    own: Dimension,
    seen: Seen,
    last: Option<Picked>,
    codes: HashMap<Picked, (Option<String>, Vec<Count>)>,
    exports: usize,
}

impl ByCode {
    pub fn new(name: &'static str, columns: &'static [&'static str], own: Dimension) -> Self {
        Self { name, columns, own, seen: Seen::default(), last: None, codes: HashMap::new(), exports: 0 }
    }

    pub fn begin(&mut self, people: usize) {
        self.seen.begin(people);
        self.last = None;
        self.exports += 1;
    }

    /// Adds columns of the export that was begun last; those of a code come one after the other.
    pub fn add(&mut self, code: Option<&str>, display: Option<&str>, columns: &Columns, chosen: &Chosen) {
        if self.last.as_ref().is_none_or(|last| last.as_deref() != code) {
            self.seen.clear();
            self.last = Some(code.map(str::to_owned));
        }
        let mut count = Count::default();
        for person in People::of(columns) {
            if chosen.counts(person, self.own) {
                count.records += 1;
                count.people += i64::from(self.seen.is_new(person));
            }
        }
        if count.records == 0 {
            return;
        }
        let (known, counts) = self.codes.entry(code.map(str::to_owned)).or_default();
        if let Some(display) = display
            && known.as_deref().is_none_or(|known| display < known)
        {
            *known = Some(display.to_owned());
        }
        counts.resize(self.exports, Count::default());
        let last = &mut counts[self.exports - 1];
        last.records += count.records;
        last.people += count.people;
    }

    /// A row for each export and code; what most people have first, of resource types those with the most resources.
    pub fn table(self, jobs: &[String], top: usize) -> Table {
        let mut codes: Vec<_> = self.codes.into_iter().collect();
        let by_records = self.own == Dimension::RESOURCE;
        let total = |counts: &[Count]| {
            let (people, records) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.people, sum.1 + count.records));
            if by_records { (records, people) } else { (people, records) }
        };
        codes.sort_by(|(a, (_, counts_a)), (b, (_, counts_b))| total(counts_b).cmp(&total(counts_a)).then_with(|| a.cmp(b)));
        let mut table = Table::new(self.name, self.columns);
        table.codes_left_out = codes.len().saturating_sub(top);
        let has_display = self.columns.contains(&"display");
        for (code, (display, counts)) in codes.into_iter().take(top) {
            for (job, count) in jobs.iter().zip(counts).filter(|(_, count)| count.records > 0) {
                let mut row = vec![Cell::Text(job.clone()), code.as_deref().into()];
                if has_display {
                    row.push(display.as_deref().into());
                }
                row.extend([count.people.into(), count.records.into()]);
                table.rows.push(row);
            }
        }
        table
    }
}
