//! FHIR search (R4, "Search"), as far as a client needs it that cannot export.

mod hits;

use chrono::{DateTime, Duration, Utc};

pub use self::hits::find;
use crate::outcome::Refused;
use crate::switches::Search as Switches;
use crate::world::patient_id;

/// What is searched for, without the page.
#[derive(Debug, Default, PartialEq)]
pub struct Query {
    pub kind: String,
    pub patients: Option<Vec<String>>,
    pub ids: Option<Vec<String>>,
    pub updated: Vec<Bound>,
}

/// `_lastUpdated`: all of them must hold. Neither end belongs to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    pub after: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
}

/// How the answer is to look.
#[derive(Debug, Default, PartialEq)]
pub struct Look {
    pub count: Option<usize>,
    /// `_summary=count`: only the total.
    pub only_total: bool,
    /// `_total=none`.
    pub no_total: bool,
}

pub type Parameters = Vec<(String, String)>;

/// Reads the parameters; `of_patient` says whether the type is searched by patient. Several of one name must all hold, several
/// values with commas are one or the other (R4, "Escaping Search Parameters" and above it).
pub fn read(kind: &str, of_patient: bool, parameters: &Parameters, lenient: bool, switches: &Switches) -> Result<(Query, Look), Refused> {
    let mut query = Query { kind: kind.to_owned(), ..Query::default() };
    let mut look = Look::default();
    let unknown = |name: &str| {
        let text = format!("Unknown search parameter \"{name}\" for resource type \"{kind}\"");
        Refused::bad_request("not-supported", text)
    };
    for (name, value) in parameters {
        let value = if switches.first_of_list { value.split(',').next().unwrap_or_default() } else { value };
        match name.as_str() {
            name if switches.ignore.iter().any(|ignored| ignored == name) => {}
            name if switches.refuse.iter().any(|refused| refused == name) => return Err(unknown(name)),
            "patient" | "subject" if of_patient && kind != "Patient" => narrow(&mut query.patients, patients(value)?),
            "_id" => narrow(&mut query.ids, list(value)),
            "_lastUpdated" => query.updated.push(bound(value)?),
            "_count" => look.count = Some(value.parse().map_err(|_| bad("_count is no number"))?),
            "_summary" if value == "count" => look.only_total = true,
            "_total" => look.no_total = value == "none",
            "_format" | "_pretty" | "_hop" => {}
            "_sort" if ["_id", "_lastUpdated"].contains(&value.trim_start_matches('-')) => {}
            _ if lenient => {}
            _ => return Err(unknown(name)),
        }
    }
    Ok((query, look))
}

fn narrow(known: &mut Option<Vec<String>>, more: Vec<String>) {
    *known = Some(match known.take() {
        Some(known) => known.into_iter().filter(|id| more.contains(id)).collect(),
        None => more,
    });
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn patients(value: &str) -> Result<Vec<String>, Refused> {
    let id = |reference: String| if reference.contains(['/', ':']) { patient_id(&reference).map(str::to_owned) } else { Some(reference) };
    list(value).into_iter().map(|reference| id(reference).ok_or_else(|| bad("patient is no reference to a Patient"))).collect()
}

/// `gt2024-01-01T00:00:00Z`, `ge2024-01-01`, or without a prefix that very day or instant.
pub fn bound(value: &str) -> Result<Bound, Refused> {
    let prefix = value.get(..2).filter(|prefix| prefix.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let text = &value[prefix.map_or(0, str::len)..];
    let (start, end) = span(text).ok_or_else(|| bad(&format!("_lastUpdated is no time: \"{value}\"")))?;
    let tick = Duration::nanoseconds(1);
    let (after, before) = match prefix.unwrap_or("eq") {
        "gt" | "sa" => (Some(end - tick), None),
        "ge" => (Some(start - tick), None),
        "lt" | "eb" => (None, Some(start)),
        "le" => (None, Some(end)),
        "eq" => (Some(start - tick), Some(end)),
        _ => return Err(bad(&format!("_lastUpdated has an unknown prefix: \"{value}\""))),
    };
    Ok(Bound { after, before })
}

/// The instant, or the whole day.
fn span(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    if let Ok(day) = text.parse::<chrono::NaiveDate>() {
        let start = day.and_hms_opt(0, 0, 0)?.and_utc();
        return Some((start, start + Duration::days(1)));
    }
    // A query's unescaped "+" arrives as a space.
    let instant = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?.to_utc();
    Some((instant, instant + Duration::nanoseconds(1)))
}

fn bad(text: &str) -> Refused {
    Refused::bad_request("value", text)
}

impl Bound {
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.after.is_none_or(|after| at > after) && self.before.is_none_or(|before| at < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(bound: &str, at: &str) -> bool {
        super::bound(bound).unwrap().holds(at.parse().unwrap())
    }

    #[test]
    fn bounds_are_as_the_prefix_says() {
        let noon = "2024-05-01T12:00:00Z";
        assert!(!holds(&format!("gt{noon}"), noon));
        assert!(holds(&format!("ge{noon}"), noon) && holds(&format!("le{noon}"), noon) && holds(noon, noon));
        assert!(!holds(&format!("lt{noon}"), noon));
        assert!(holds("2024-05-01", noon) && !holds("gt2024-05-01", noon) && holds("ge2024-05-01", noon));
        assert!(super::bound("gtnever").is_err() && super::bound("zz2024-05-01").is_err());
    }

    #[test]
    fn reads_patients_in_every_form_and_refuses_the_unknown() {
        let parameters = vec![("patient".to_owned(), "a,Patient/b,http://x/fhir/Patient/c,urn:uuid:d".to_owned())];
        let (query, _) = read("Condition", true, &parameters, false, &Switches::default()).unwrap();
        assert_eq!(query.patients.unwrap(), ["a", "b", "c", "d"]);
        assert!(read("Organization", false, &parameters, false, &Switches::default()).is_err());
        assert!(read("Organization", false, &parameters, true, &Switches::default()).is_ok());
    }
}
