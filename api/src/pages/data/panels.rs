//! The panels: a chart's place, its table in the reader's language, and links in it that pick.

use super::{
    super::{format, frame::Frame},
    links::Links,
};
use crate::data::{Cell, Data, Table};

/// A chart with what belongs to it.
pub struct Panel {
    pub name: &'static str,
    /// As wide as the page.
    pub wide: bool,
    /// How it may be drawn; the first one is the usual way.
    pub kinds: &'static [&'static str],
    /// Beside the title: what it is of.
    pub of: Option<String>,
    pub csv: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Shown>>,
    pub codes_left_out: usize,
}

pub struct Column {
    pub label: &'static str,
    pub is_number: bool,
}

/// A cell of a table.
pub struct Shown {
    pub text: String,
    pub is_number: bool,
    /// Picks it, or lets it go.
    pub url: Option<String>,
    pub picked: bool,
}

/// How each chart is laid out.
struct Layout {
    name: &'static str,
    wide: bool,
    kinds: &'static [&'static str],
    /// The parameter that a column's cells pick.
    picks: &'static [(&'static str, &'static str)],
}

const LAYOUTS: [Layout; 8] = [
    Layout { name: "people", wide: false, kinds: &["pyramid", "columns"], picks: &[("gender", "gender"), ("age", "age")] },
    Layout { name: "conditions", wide: false, kinds: &["bars", "tiles"], picks: &[("code", "condition")] },
    Layout { name: "encounters", wide: true, kinds: &["columns", "lines", "areas"], picks: &[("period", "period"), ("class", "class")] },
    Layout { name: "observations", wide: false, kinds: &["bars", "tiles"], picks: &[("code", "observation")] },
    Layout { name: "medications", wide: false, kinds: &["bars", "tiles"], picks: &[("code", "medication")] },
    Layout { name: "histogram", wide: false, kinds: &["columns", "lines"], picks: &[] },
    Layout { name: "trend", wide: false, kinds: &["quartiles", "lines"], picks: &[] },
    Layout { name: "resources", wide: true, kinds: &["bars", "tiles"], picks: &[("resource_type", "resource_type")] },
];

pub fn panels(frame: &Frame, links: &Links, data: &Data) -> Vec<Panel> {
    let find = |name: &str| data.charts.iter().find(|table| table.name == name);
    LAYOUTS.iter().filter_map(|layout| find(layout.name).map(|table| panel(frame, links, data, layout, table))).collect()
}

fn panel(frame: &Frame, links: &Links, data: &Data, layout: &Layout, table: &Table) -> Panel {
    let names = names(table, data.jobs.len() > 1);
    let of_values = matches!(layout.name, "histogram" | "trend") && !table.rows.is_empty();
    Panel {
        name: layout.name,
        wide: layout.wide,
        kinds: layout.kinds,
        of: of_values.then(|| of_values_of(frame, data)),
        csv: links.csv(layout.name),
        columns: names.iter().map(|name| Column { label: frame.word("data.column", name), is_number: is_number(name) }).collect(),
        rows: table.rows.iter().map(|row| names.iter().map(|name| cell(frame, links, data, layout, table, row, name)).collect()).collect(),
        codes_left_out: table.codes_left_out,
    }
}

/// An observation with the unit of its values that is drawn.
fn of_values_of(frame: &Frame, data: &Data) -> String {
    let name = data.named(frame, "observation", data.values_of.as_deref());
    data.unit.as_ref().map_or(name.clone(), |unit| format!("{name} ({unit})"))
}

/// The columns that are shown: an export only among several, a part only where there is one, a range in one piece.
fn names(table: &Table, several: bool) -> Vec<&'static str> {
    let is_empty = |n: usize| table.rows.iter().all(|row| row[n] == Cell::NotGiven);
    let shown = table.columns.iter().enumerate().filter(|(n, name)| match **name {
        "job_id" => several,
        "part" => !is_empty(*n),
        "age_to" | "to" => false,
        _ => true,
    });
    shown
        .map(|(_, name)| name)
        .map(|name| match *name {
            "age_from" => "age",
            "from" => "range",
            other => other,
        })
        .collect()
}

fn is_number(name: &str) -> bool {
    !matches!(name, "job_id" | "resource_type" | "gender" | "age" | "code" | "display" | "class" | "period" | "part" | "unit" | "range")
}

fn cell(frame: &Frame, links: &Links, data: &Data, layout: &Layout, table: &Table, row: &[Cell], name: &str) -> Shown {
    let at = |name: &str| table.columns.iter().position(|column| *column == name).and_then(|n| row.get(n)).unwrap_or(&Cell::NotGiven);
    let (text, value) = match name {
        "age" => (age(frame, at("age_from"), at("age_to")), age_value(at("age_from"), at("age_to"))),
        "range" => (range(at("from"), at("to")), String::new()),
        _ => (text(frame, data, name, at(name)), at(name).plain()),
    };
    let pick = layout.picks.iter().find(|(column, _)| *column == name).map(|(_, parameter)| links.toggled(&[(*parameter, value.as_str())]));
    let (url, picked) = pick.map_or((None, false), |(url, picked)| (Some(url), picked));
    Shown { text, is_number: is_number(name), url, picked }
}

fn text(frame: &Frame, data: &Data, name: &str, cell: &Cell) -> String {
    match (name, cell) {
        ("display", Cell::NotGiven) => String::new(),
        (_, Cell::NotGiven) => frame.t("data.not_given").to_owned(),
        ("job_id", Cell::Text(id)) => {
            data.jobs.iter().find(|job| job.job_id.to_string() == *id).map_or_else(|| id.clone(), |job| data.label(frame, job))
        }
        ("gender" | "class", Cell::Text(word)) => data.named(frame, name, Some(word)),
        (_, Cell::Text(text)) => text.clone(),
        (_, Cell::Count(count)) => format::number(*count),
        (_, Cell::Number(number)) => decimal(*number),
    }
}

fn age(frame: &Frame, from: &Cell, to: &Cell) -> String {
    match (from, to) {
        (Cell::Count(from), Cell::Count(to)) => format!("{from}\u{2013}{to}"),
        (Cell::Count(from), _) => format!("{from}+"),
        _ => frame.t("data.not_given").to_owned(),
    }
}

fn age_value(from: &Cell, to: &Cell) -> String {
    match (from, to) {
        (Cell::NotGiven, _) => String::new(),
        (from, to) => format!("{}-{}", from.plain(), to.plain()),
    }
}

fn range(from: &Cell, to: &Cell) -> String {
    match (from, to) {
        (Cell::Number(from), Cell::Number(to)) => format!("{} \u{2013} <\u{a0}{}", decimal(*from), decimal(*to)),
        (Cell::Number(from), _) => format!("\u{2265}\u{a0}{}", decimal(*from)),
        (_, Cell::Number(to)) => format!("<\u{a0}{}", decimal(*to)),
        _ => String::new(),
    }
}

/// Four digits that count, without needless zeros.
pub fn decimal(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e12).contains(&size) {
        return format!("{number:.3e}");
    }
    let decimals = match size {
        1000.0.. => 0,
        100.0.. => 1,
        1.0.. => 2,
        0.1.. => 4,
        0.01.. => 5,
        0.001.. => 6,
        _ => 7,
    };
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (number, shown) in [
            (0.0, "0"),
            (72.5, "72.5"),
            (0.123_456, "0.1235"),
            (0.000_123_456, "0.0001235"),
            (0.001_5, "0.0015"),
            (120.04, "120"),
            (12_345.6, "12346"),
            (1e-7, "1.000e-7"),
            (-3.10, "-3.1"),
        ] {
            assert_eq!(decimal(number), shown);
        }
    }
}
