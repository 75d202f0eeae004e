//! The columns of one kind of records, by code and unit, until they are written.

use std::collections::HashMap;

use bulkhead_shared::{
    db::summaries::{NOT_GIVEN, NewColumns},
    domain::summary::Kind,
};

use super::record::Record;

/// About what columns take beside their records.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub struct Columns {
    kind: Kind,
    /// Where a code's columns are.
    places: HashMap<Box<str>, usize>,
    /// A code's columns, by unit and by what it is a part of: there are few of them. At the first place: those without a code.
    by_code: Vec<Vec<NewColumns>>,
    bytes: usize,
}

impl Columns {
    pub fn of(kind: Kind) -> Self {
        Self { kind, places: HashMap::new(), by_code: vec![Vec::new()], bytes: 0 }
    }

    /// About what they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, person: i32, record: &Record<'_>) {
        let kind = self.kind;
        let (code, display) = (given_text(record.code), given_text(record.display));
        // A concept without a code goes by its text.
        let columns = self.columns(code.or(display), record);
        // Of several texts the first in the alphabet, whatever the order of the rows.
        if let Some(display) = display
            && columns.display.as_deref().is_none_or(|known| display < known)
        {
            columns.display = Some(display.to_owned());
        }
        let before = columns.vals.len();
        if let Some(value) = record.value.filter(|value| !value.is_nan()) {
            pad(columns);
            columns.vals.extend(value.to_le_bytes());
        }
        columns.records += 1;
        columns.people.extend(person.to_le_bytes());
        if kind.has_days() {
            columns.days.extend(record.day.unwrap_or(NOT_GIVEN).to_le_bytes());
        }
        let added = 8 + columns.vals.len() - before;
        self.bytes += added;
    }

    fn columns(&mut self, code: Option<&str>, record: &Record<'_>) -> &mut NewColumns {
        let place = match code {
            None => 0,
            Some(code) => self.places.get(code).copied().unwrap_or_else(|| {
                self.by_code.push(Vec::new());
                self.places.insert(code.into(), self.by_code.len() - 1);
                self.by_code.len() - 1
            }),
        };
        let units = &mut self.by_code[place];
        let is_its = |columns: &NewColumns| columns.unit.as_deref() == record.unit && columns.part_of.as_deref() == record.part_of;
        let found = units.iter().position(is_its).unwrap_or_else(|| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let mut new = NewColumns { unit: own(record.unit), part_of: own(record.part_of), ..NewColumns::of(self.kind) };
            match self.kind.resource_type() {
                Some(resource_type) => (new.resource_type, new.code) = (resource_type.to_owned(), own(code)),
                None => code.unwrap_or_default().clone_into(&mut new.resource_type),
            }
            units.push(new);
            self.bytes += OVERHEAD;
            units.len() - 1
        });
        &mut units[found]
    }

    /// All that there is, ready to be written; it begins anew.
    pub fn take(&mut self) -> Vec<NewColumns> {
        let mut all: Vec<NewColumns> = std::mem::replace(self, Self::of(self.kind)).by_code.into_iter().flatten().collect();
        all.iter_mut().filter(|columns| !columns.vals.is_empty()).for_each(pad);
        all
    }
}

/// FHIR knows no empty strings: one is nothing.
fn given_text(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// Records that have no value say so.
fn pad(columns: &mut NewColumns) {
    while columns.vals.len() < columns.records * 8 {
        columns.vals.extend(f64::NAN.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(columns: &NewColumns) -> Vec<f64> {
        columns.vals.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn records_without_a_value_keep_their_place_and_units_are_told_apart() {
        let mut columns = Columns::of(Kind::Observation);
        for (unit, value) in [(Some("kg"), None), (Some("kg"), Some(2.0)), (None, None), (Some("kg"), None)] {
            columns.push(0, &Record { code: Some("w"), display: Some("Weight"), unit, value, ..Record::default() });
        }
        columns.push(1, &Record { display: Some("only a text"), ..Record::default() });
        columns.push(2, &Record::default());
        let mut of_parts = Columns::of(Kind::Component);
        for whole in ["pressure", "pressure", "lying down"] {
            of_parts.push(0, &Record { code: Some("systolic"), part_of: Some(whole), ..Record::default() });
        }
        assert_eq!(of_parts.take().iter().map(|columns| columns.records).collect::<Vec<_>>(), [2, 1], "a part of two things");
        let mut all = columns.take();
        all.sort_by_key(|columns| columns.records);
        let kilograms = all.pop().unwrap();
        assert_eq!((kilograms.code.as_deref(), kilograms.unit.as_deref(), kilograms.records), (Some("w"), Some("kg"), 3));
        let values = values(&kilograms);
        assert!(values[0].is_nan() && values[2].is_nan() && (values[1] - 2.0).abs() < f64::EPSILON, "{values:?}");
        let mut codes: Vec<_> = all.iter().map(|columns| columns.code.as_deref()).collect();
        codes.sort_unstable();
        assert_eq!(codes, [None, Some("only a text"), Some("w")]);
        assert!(all.iter().all(|columns| columns.vals.is_empty()));
        assert!(columns.take().is_empty(), "it begins anew");
    }
}
