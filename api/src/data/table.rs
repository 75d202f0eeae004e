//! A chart's numbers as a table: what the page draws, what its table shows, what the CSV holds.

use serde::Serialize;
use utoipa::ToSchema;

/// The charts there are.
pub const CHARTS: [&str; 9] =
    ["totals", "resources", "people", "conditions", "encounters", "observations", "medications", "histogram", "trend"];

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Cell {
    Text(String),
    Count(i64),
    Number(f64),
    /// null
    NotGiven,
}

impl Cell {
    /// As a filter names it; not given is nothing.
    pub fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(number) => number.to_string(),
            Self::NotGiven => String::new(),
        }
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::NotGiven, |text| Self::Text(text.to_owned()))
    }
}

impl From<i64> for Cell {
    fn from(count: i64) -> Self {
        Self::Count(count)
    }
}

impl From<Option<i32>> for Cell {
    fn from(count: Option<i32>) -> Self {
        count.map_or(Self::NotGiven, |count| Self::Count(count.into()))
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::NotGiven, Self::Number)
    }
}

/// Rows under named columns.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Table {
    /// The chart.
    #[schema(value_type = String, example = "conditions")]
    pub name: &'static str,
    /// What stands in each row, in order.
    #[schema(value_type = Vec<String>, example = json!(["job_id", "code", "display", "people", "records"]))]
    pub columns: &'static [&'static str],
    /// The values; null: not given.
    #[schema(example = json!([["019b0000-0000-7000-8000-000000000000", "59621000", "Hypertension", 12, 12]]))]
    pub rows: Vec<Vec<Cell>>,
    /// Codes that `top` left out; their numbers are in no row.
    pub codes_left_out: usize,
}

impl Table {
    pub const fn new(name: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, columns, rows: Vec::new(), codes_left_out: 0 }
    }
}
