//! What the script draws from: the numbers, and the reader's words for them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::frame::Frame;
use crate::{
    data::{Cell, Data, Job},
    problem::Problem,
};

const WORDS: [&str; 11] = [
    "data.not_given",
    "data.column.people",
    "data.column.records",
    "data.column.age",
    "data.column.mean",
    "data.column.median",
    "data.column.quarter",
    "data.column.three_quarters",
    "data.column.lowest",
    "data.column.highest",
    "data.middle_half",
];

/// As it stands in a `<script type="application/json">`: no `<` ends it.
pub fn json(frame: &Frame, data: &Data) -> Result<String, Problem> {
    let mut words: BTreeMap<&str, &str> = WORDS.iter().map(|key| (key.rsplit('.').next().unwrap_or(key), frame.t(key))).collect();
    words.insert("empty", frame.t(data.empty()));
    let mut names: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (chart, column) in [("people", "gender"), ("encounters", "class")] {
        for word in data.values(chart, column) {
            names.entry(column.to_owned()).or_default().insert(word.clone(), data.named(frame, column, Some(&word)));
        }
    }
    let jobs: BTreeMap<String, String> = data.jobs.iter().map(|job| (job.job_id.to_string(), data.label(frame, job))).collect();
    let charts: BTreeMap<&str, Value> =
        data.charts.iter().map(|table| (table.name, json!({"columns": table.columns, "rows": table.rows}))).collect();
    let filters: Vec<[&str; 2]> = data.filters.iter().map(|filter| [filter.name.as_str(), filter.value.as_str()]).collect();
    let all = json!({"words": words, "names": names, "jobs": jobs, "charts": charts, "filters": filters, "by": data.by, "bands": data.bands,
        "unit": data.unit});
    Ok(serde_json::to_string(&all).map_err(Problem::internal)?.replace('<', "\\u003c"))
}

/// What people tell exports apart by: the Group, or what it is of, and when it was submitted.
pub fn label(frame: &Frame, job: &Job) -> String {
    let name = job.group_id.as_deref().unwrap_or_else(|| frame.word("level", &job.level));
    format!("{name} · {}", job.created_at.format("%Y-%m-%d %H:%M"))
}

impl Data {
    /// What an export is called here: its Group, with the time where several are of the same.
    pub fn label(&self, frame: &Frame, job: &Job) -> String {
        match &job.group_id {
            Some(group) if self.jobs.iter().filter(|other| other.group_id == job.group_id).count() == 1 => group.clone(),
            _ => label(frame, job),
        }
    }

    /// The text of a chart that has nothing: nobody who was chosen has any, or nobody at all.
    pub fn empty(&self) -> &'static str {
        if self.filters.is_empty() { "data.empty.all" } else { "data.empty" }
    }

    /// The different words of a chart's column.
    fn values(&self, chart: &str, column: &str) -> Vec<String> {
        let Some(table) = self.charts.iter().find(|table| table.name == chart) else { return Vec::new() };
        let Some(at) = table.columns.iter().position(|name| *name == column) else { return Vec::new() };
        let mut all: Vec<String> =
            table.rows.iter().filter_map(|row| if let Cell::Text(text) = &row[at] { Some(text.clone()) } else { None }).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The sum of a column over all exports.
    pub fn sum_of(&self, chart: &str, column: usize) -> i64 {
        let table = self.charts.iter().find(|table| table.name == chart);
        let cells = table.into_iter().flat_map(|table| &table.rows).filter_map(|row| row.get(column));
        cells.map(|cell| if let Cell::Count(count) = cell { *count } else { 0 }).sum()
    }

    /// A value in the reader's words: a gender or class by its name, a code by its text.
    pub fn named(&self, frame: &Frame, parameter: &str, value: Option<&str>) -> String {
        let Some(value) = value else { return frame.t("data.not_given").to_owned() };
        let chart = match parameter {
            "gender" | "class" => {
                let key = format!("data.{parameter}.{value}");
                return if frame.language.has(&key) { frame.t(&key).to_owned() } else { value.to_owned() };
            }
            "condition" => "conditions",
            "observation" => {
                let known = self.measured.iter().find(|measured| measured.code.as_deref() == Some(value));
                if let Some(display) = known.and_then(|measured| measured.display.clone()) {
                    return display;
                }
                "observations"
            }
            "medication" => "medications",
            "age" => return value.strip_suffix('-').map_or_else(|| value.replace('-', "\u{2013}"), |from| format!("{from}+")),
            _ => return value.to_owned(),
        };
        let rows = self.charts.iter().filter(|table| table.name == chart).flat_map(|table| &table.rows);
        let found = rows
            .filter(|row| row[1] == Cell::Text(value.to_owned()))
            .find_map(|row| if let Cell::Text(text) = &row[2] { Some(text.clone()) } else { None });
        found.unwrap_or_else(|| value.to_owned())
    }
}
