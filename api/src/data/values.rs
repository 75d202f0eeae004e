//! The values of one observation: how they are distributed, and how they went over time. Each unit by itself: values of two do not compare.
//! So is each part of an observation that has several, as a blood pressure.

use std::collections::BTreeMap;

use bulkhead_shared::db::summaries::Columns;

use super::{
    chosen::Chosen,
    count::{Days, Numbers, People},
    filters::Dimension,
    period::By,
    table::{Cell, Table},
};

/// About so many bars; a few more where the border is round.
const BARS: f64 = 24.0;

/// In which period, and what.
type Found = (Option<i32>, f64);
/// Of a part, and an export by its place.
type Of = (Option<String>, usize);

#[derive(Debug)]
pub struct Values {
    by: By,
    /// By unit; bars of a unit have the same borders.
    found: BTreeMap<Option<String>, BTreeMap<Of, Vec<Found>>>,
}

impl Values {
    pub const fn new(by: By) -> Self {
        Self { by, found: BTreeMap::new() }
    }

    /// Its own filter does not leave anybody out: who was picked is everybody that has it.
    pub fn add(&mut self, export: usize, columns: &Columns, chosen: &Chosen) {
        let by = self.by;
        let found = People::of(columns)
            .zip(Days::of(columns))
            .zip(Numbers::of(columns))
            .filter(|((person, _), value)| !value.is_nan() && chosen.counts(*person, Dimension::OBSERVATION))
            .map(|((_, day), value)| (by.period(day), value));
        let mut found: Vec<_> = found.collect();
        if !found.is_empty() {
            let part = columns.part_of.as_ref().and(columns.display.as_ref().or(columns.code.as_ref()));
            self.found.entry(columns.unit.clone()).or_default().entry((part.cloned(), export)).or_default().append(&mut found);
        }
    }

    /// Of several units the one that most values have: a picture is of one. It may be none at all.
    pub fn unit(&self) -> Option<String> {
        let size = |parts: &BTreeMap<Of, Vec<Found>>| parts.values().map(Vec::len).sum::<usize>();
        self.found.iter().max_by_key(|(_, parts)| size(parts)).and_then(|(unit, _)| unit.clone())
    }

    /// The distribution and the trend.
    pub fn tables(self, jobs: &[String]) -> (Table, Table) {
        let mut histogram = Table::new("histogram", &["job_id", "part", "unit", "from", "to", "records"]);
        let mut trend = Table::new(
            "trend",
            &["job_id", "part", "unit", "period", "records", "mean", "lowest", "quarter", "median", "three_quarters", "highest"],
        );
        for (unit, exports) in self.found {
            let mut all: Vec<f64> = exports.values().flatten().map(|(_, value)| *value).collect();
            all.sort_by(f64::total_cmp);
            let edges = edges(&all);
            for ((part, export), found) in exports {
                let begin = || vec![Cell::Text(jobs[export].clone()), part.as_deref().into(), unit.as_deref().into()];
                for (from, to, records) in bars(&edges, found.iter().map(|(_, value)| *value)) {
                    histogram.rows.push([begin(), vec![from.into(), to.into(), records.into()]].concat());
                }
                let mut periods: BTreeMap<Option<i32>, Vec<f64>> = BTreeMap::new();
                for (period, value) in found {
                    periods.entry(period).or_default().push(value);
                }
                for (period, mut values) in periods {
                    values.sort_by(f64::total_cmp);
                    let period = period.map(|period| self.by.write(period));
                    let mut row = begin();
                    row.push(period.as_deref().into());
                    row.push(i64::try_from(values.len()).unwrap_or(i64::MAX).into());
                    row.push(Cell::Number(mean(&values)));
                    row.extend([0.0, 0.25, 0.5, 0.75, 1.0].map(|part| Cell::Number(quantile(&values, part))));
                    trend.rows.push(row);
                }
            }
        }
        (histogram, trend)
    }
}

/// Round borders of bars over sorted values. A few values far out do not squeeze the others: what is below the first border and above the
/// last is counted in a bar of its own.
fn edges(sorted: &[f64]) -> Vec<f64> {
    let (low, high) = (quantile(sorted, 0.01), quantile(sorted, 0.99));
    let spread = high - low;
    if !spread.is_finite() || spread <= 0.0 {
        return vec![low];
    }
    let rough = spread / BARS;
    let exponent = rough.log10().floor();
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * 10f64.powf(exponent) >= rough).unwrap_or(10.0);
    let step = factor * 10f64.powf(exponent);
    let (first, last) = ((low / step).floor(), (high / step).floor() + 1.0);
    let mut edges = Vec::new();
    let mut at = first;
    while at <= last {
        // Written and read again: 0.3, not 0.30000000000000004.
        let text = format!("{}e{exponent}", at * factor);
        edges.push(text.parse().unwrap_or(at * step));
        at += 1.0;
        if edges.len() > 200 {
            break;
        }
    }
    edges
}

type Bar = (Option<f64>, Option<f64>, i64);

/// How many values are in each bar: from its border on, to the next, which is not included.
fn bars(edges: &[f64], values: impl Iterator<Item = f64>) -> Vec<Bar> {
    let mut counts = vec![0_i64; edges.len() + 1];
    for value in values {
        counts[edges.partition_point(|edge| *edge <= value)] += 1;
    }
    let last = counts.len() - 1;
    let border = |n: usize| edges.get(n).copied();
    counts
        .into_iter()
        .enumerate()
        .filter(|(n, count)| *count > 0 || (*n > 0 && *n < last))
        .map(|(n, count)| (n.checked_sub(1).and_then(border), border(n), count))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    // Not the sum first: it may be larger than any number.
    values.iter().map(|value| value / n).sum()
}

/// As Postgres' `percentile_cont` has it.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_round_and_every_value_is_in_one_bar() {
        let mut values: Vec<f64> = (0..1000).map(|n| f64::from(n) * 0.001).collect();
        values.extend([-1e9, 1e9]);
        values.sort_by(f64::total_cmp);
        let edges = edges(&values);
        assert!(edges.len() > 10 && edges.len() < 40, "{edges:?}");
        assert!(edges.iter().all(|edge| edge.to_string().len() < 6), "{edges:?}");
        let bars = bars(&edges, values.iter().copied());
        assert_eq!(bars.iter().map(|bar| bar.2).sum::<i64>(), 1002);
        assert_eq!((bars[0].0, bars[bars.len() - 1].1), (None, None), "what is far out has bars of its own");
    }

    #[test]
    fn one_value_and_equal_ones_have_a_bar() {
        for values in [vec![5.0], vec![5.0; 9]] {
            let bars = bars(&edges(&values), values.iter().copied());
            assert_eq!(bars, [(Some(5.0), None, i64::try_from(values.len()).unwrap())]);
        }
    }
}
