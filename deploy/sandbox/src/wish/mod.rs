//! What a kick-off asks for (Bulk Data Access IG, "Query Parameters").

mod dialect;
mod elements;
mod filter;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::dialect::{Call, check_dialect};
pub use self::elements::{Elements, subset};
pub use self::filter::{Filter, split as split_filters};
use crate::outcome::Refused;
use crate::search::Parameters;
use crate::switches::KickOff;
use crate::world::patient_id;

/// Part of the kept state: a sandbox that starts again makes the same files from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// `None` is every type.
    pub types: Option<Vec<String>>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// `_typeFilter`, each `Type?query`.
    pub filters: Vec<String>,
    /// `_elements`, each `element` or `Type.element`.
    pub elements: Vec<String>,
    /// Ids of the patients wanted; `None` is everybody.
    pub patients: Option<Vec<String>>,
    /// Provenance of the patients.
    pub provenance: bool,
    /// `organizeOutputBy=Patient`.
    pub by_patient: bool,
    pub partial_manifests: bool,
}

/// What every sandbox knows; all else must be switched on.
const ALWAYS: [&str; 3] = ["_type", "_since", "_outputFormat"];
const OTHERS: [&str; 8] = [
    "_until",
    "_typeFilter",
    "_elements",
    "patient",
    "includeAssociatedData",
    "organizeOutputBy",
    "allowPartialManifests",
    "_outputFormat",
];

impl Wish {
    /// Whether files are more than slices of what there is.
    pub fn picks_lines(&self) -> bool {
        let Self { since, until, filters, elements, patients, .. } = self;
        since.is_some() || until.is_some() || !filters.is_empty() || !elements.is_empty() || patients.is_some()
    }
}

/// Reads the parameters as this server would.
pub fn read(parameters: Parameters, call: Call, lenient: bool, switches: &KickOff) -> Result<Wish, Refused> {
    let mut wish = Wish::default();
    for (name, value) in parameters {
        if name == "_hop" || switches.ignore.contains(&name) {
            continue;
        }
        if !knows(switches, &name) {
            if lenient {
                continue;
            }
            return Err(dialect::unsupported(switches.wording, &name));
        }
        set(&mut wish, &name, &value, call)?;
    }
    if switches.one_filter_a_type {
        let mut kinds: Vec<_> = wish.filters.iter().filter_map(|filter| filter.split('?').next()).collect();
        kinds.sort_unstable();
        if kinds.windows(2).any(|two| two[0] == two[1]) {
            return Err(bad("_typeFilter: a resource type may be named only once"));
        }
    }
    Ok(wish)
}

fn knows(switches: &KickOff, name: &str) -> bool {
    let listed = |list: &[String], name: &str| list.iter().any(|known| known == name);
    let all = listed(&switches.support, "all") && OTHERS.contains(&name);
    (ALWAYS.contains(&name) || all || listed(&switches.support, name)) && !listed(&switches.refuse, name)
}

fn set(wish: &mut Wish, name: &str, value: &str, call: Call) -> Result<(), Refused> {
    match name {
        "_type" => {
            let types = wish.types.get_or_insert_default();
            for kind in items(value) {
                read_type(kind, types)?;
            }
        }
        "_since" => wish.since = Some(instant(name, value)?),
        "_until" => wish.until = Some(instant(name, value)?),
        "_outputFormat" => check_format(value)?,
        "_typeFilter" => {
            for filter in split_filters(value) {
                Filter::read(&filter)?;
                wish.filters.push(filter);
            }
        }
        "_elements" => wish.elements.extend(items(value).map(str::to_owned)),
        "patient" => {
            if !call.post {
                return Err(bad("patient: allowed only in the body of a POST"));
            }
            if call.system {
                return Err(bad("patient: not allowed for an export of the whole system"));
            }
            let patients = wish.patients.get_or_insert_default();
            for reference in items(value) {
                let id = if reference.contains('/') { patient_id(reference) } else { Some(reference) };
                patients.push(id.ok_or_else(|| bad(&format!("patient: \"{reference}\" is no reference to a Patient")))?.to_owned());
            }
        }
        "includeAssociatedData" => {
            for what in items(value) {
                match what {
                    "LatestProvenanceResources" | "RelevantProvenanceResources" => wish.provenance = true,
                    _ => return Err(Refused::bad_request("not-supported", format!("includeAssociatedData: \"{what}\" is not supported"))),
                }
            }
        }
        "organizeOutputBy" if value == "Patient" => wish.by_patient = true,
        "organizeOutputBy" => {
            return Err(Refused::bad_request("not-supported", format!("organizeOutputBy: only Patient is supported, not \"{value}\"")));
        }
        "allowPartialManifests" => {
            wish.partial_manifests = value.parse().map_err(|_| bad("allowPartialManifests is neither true nor false"))?;
        }
        // A vendor's parameter: taken, and without effect.
        _ => {}
    }
    Ok(())
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn instant(name: &str, value: &str) -> Result<DateTime<Utc>, Refused> {
    DateTime::parse_from_rfc3339(value).map(|at| at.to_utc()).map_err(|error| bad(&format!("{name} is no instant: \"{value}\" ({error})")))
}

fn read_type(kind: &str, into: &mut Vec<String>) -> Result<(), Refused> {
    let plausible = kind.starts_with(|first: char| first.is_ascii_uppercase()) && kind.chars().all(|letter| letter.is_ascii_alphabetic());
    if !plausible {
        return Err(bad(&format!("_type: \"{kind}\" is no resource type")));
    }
    if into.iter().all(|known| known != kind) {
        into.push(kind.to_owned());
    }
    Ok(())
}

fn check_format(format: &str) -> Result<(), Refused> {
    // A query's unescaped "+" arrives as a space.
    let format = format.replace(' ', "+");
    if ["application/fhir+ndjson", "application/ndjson", "ndjson"].contains(&format.as_str()) {
        return Ok(());
    }
    let text = format!("_outputFormat: only application/fhir+ndjson is supported, not \"{format}\"");
    Err(Refused::bad_request("not-supported", text))
}

fn bad(text: &str) -> Refused {
    Refused::bad_request("value", text)
}
