//! `_typeFilter`: a search for one type, as far as the sandbox can search.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::outcome::Refused;
use crate::search::{Bound, bound};

/// `Observation?status=final&category=laboratory`: all conditions must hold.
pub struct Filter {
    pub kind: String,
    conditions: Vec<Condition>,
}

enum Condition {
    Updated(Bound),
    Date(Bound),
    /// One of the values is the code, or `system|code`, of the element.
    Code(&'static str, Vec<String>),
}

/// Several filters in one parameter, joined by commas: a comma within a query is none that separates.
pub fn split(value: &str) -> Vec<String> {
    let mut filters: Vec<String> = Vec::new();
    for part in value.split(',') {
        let begins = part.starts_with(|first: char| first.is_ascii_uppercase())
            && part.split_once('?').is_some_and(|(kind, _)| kind.bytes().all(|byte| byte.is_ascii_alphabetic()));
        match filters.last_mut() {
            Some(last) if !begins => {
                last.push(',');
                last.push_str(part);
            }
            _ => filters.push(part.to_owned()),
        }
    }
    filters
}

impl Filter {
    pub fn read(text: &str) -> Result<Self, Refused> {
        let bad = |text: String| Refused::bad_request("value", text);
        let (kind, query) = text.split_once('?').ok_or_else(|| bad(format!("_typeFilter: \"{text}\" is not <type>?<query>")))?;
        let mut conditions = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let values = || value.split(',').map(str::to_owned).collect();
            conditions.push(match &*name {
                "_lastUpdated" => Condition::Updated(bound(&value)?),
                "date" => Condition::Date(bound(&value)?),
                "_id" => Condition::Code("id", values()),
                "status" => Condition::Code("status", values()),
                "gender" => Condition::Code("gender", values()),
                "active" => Condition::Code("active", values()),
                "code" => Condition::Code("code", values()),
                "category" => Condition::Code("category", values()),
                "class" => Condition::Code("class", values()),
                "clinical-status" => Condition::Code("clinicalStatus", values()),
                _ => return Err(Refused::bad_request("not-supported", format!("_typeFilter: unknown search parameter \"{name}\""))),
            });
        }
        Ok(Self { kind: kind.to_owned(), conditions })
    }

    pub fn holds(&self, line: &[u8]) -> bool {
        let Ok(resource) = serde_json::from_slice::<Value>(line) else { return false };
        self.conditions.iter().all(|condition| match condition {
            Condition::Updated(bound) => time(&resource["meta"]["lastUpdated"]).is_some_and(|at| bound.holds(at)),
            Condition::Date(bound) => date(&resource).is_some_and(|at| bound.holds(at)),
            Condition::Code(element, values) => values.iter().any(|value| is(&resource[*element], value)),
        })
    }
}

fn is(element: &Value, wanted: &str) -> bool {
    match element {
        Value::String(text) => text == wanted,
        Value::Bool(truth) => truth.to_string() == wanted,
        Value::Array(several) => several.iter().any(|one| is(one, wanted)),
        Value::Object(object) if object.contains_key("coding") => is(&element["coding"], wanted),
        Value::Object(_) => {
            let code = element["code"].as_str().unwrap_or_default();
            wanted == code || element["system"].as_str().is_some_and(|system| wanted == format!("{system}|{code}"))
        }
        _ => false,
    }
}

fn date(resource: &Value) -> Option<DateTime<Utc>> {
    let times = ["effectiveDateTime", "occurrenceDateTime", "authoredOn"].into_iter().map(|name| &resource[name]);
    let starts = ["period", "performedPeriod"].into_iter().map(|name| &resource[name]["start"]);
    times.chain(starts).find_map(time)
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_filters_at_the_commas_between_them_only() {
        assert_eq!(split("Observation?code=a,b,Patient?gender=male"), ["Observation?code=a,b", "Patient?gender=male"]);
    }

    #[test]
    fn holds_by_code_and_by_time() {
        let line =
            br#"{"status":"final","category":[{"coding":[{"system":"s","code":"lab"}]}],"effectiveDateTime":"2024-05-01T00:00:00Z"}"#;
        let holds = |filter: &str| Filter::read(filter).map_err(|_| ()).unwrap().holds(line);
        assert!(holds("Observation?category=lab&status=final,amended") && holds("Observation?category=s%7Clab&date=ge2024-05-01"));
        assert!(!holds("Observation?category=vital") && !holds("Observation?date=lt2024-05-01"));
        assert!(Filter::read("Observation?colour=red").is_err() && Filter::read("Observation").is_err());
    }
}
