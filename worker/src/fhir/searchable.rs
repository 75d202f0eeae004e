//! What a server says that it can search (FHIR R4, "CapabilityStatement").

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_shared::domain::search::PATIENT_COMPARTMENT;
use serde::Deserialize;

/// Of the compartment, and without a parameter of that name.
const NO_PATIENT: &[&str] = &["Group", "Schedule", "SupplyRequest"];

/// By which parameter the resources of a patient are found, the best first.
const OF_A_PATIENT: &[&str] = &["patient", "subject", "beneficiary"];

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
    #[serde(default)]
    rest: Option<Vec<Rest>>,
}

#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    resource: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    interaction: Option<Vec<Interaction>>,
    #[serde(default, rename = "searchParam")]
    parameters: Option<Vec<Parameter>>,
}

#[derive(Deserialize)]
struct Interaction {
    #[serde(default)]
    code: Option<String>,
}

#[derive(Deserialize)]
struct Parameter {
    #[serde(default)]
    name: Option<String>,
}

/// The types that can be searched, each with its parameters.
#[derive(Debug, Default)]
pub struct Searchable {
    types: BTreeMap<String, Vec<String>>,
    listed: BTreeSet<String>,
}

impl Searchable {
    /// `None`: that is no CapabilityStatement.
    pub fn read(body: &[u8]) -> Option<Self> {
        let statement: Statement = serde_json::from_slice(body).ok()?;
        if !matches!(statement.resource_type.as_deref(), Some("CapabilityStatement" | "Conformance")) {
            return None;
        }
        let servers = statement.rest.into_iter().flatten().filter(|rest| rest.mode.as_deref() != Some("client"));
        let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut listed = BTreeSet::new();
        for resource in servers.flat_map(|rest| rest.resource.into_iter().flatten()) {
            let interactions: Vec<_> = resource.interaction.iter().flatten().filter_map(|i| i.code.as_deref()).collect();
            let names: Vec<String> = resource.parameters.into_iter().flatten().filter_map(|parameter| parameter.name).collect();
            let can = interactions.contains(&"search-type") || (interactions.is_empty() && !names.is_empty());
            let Some(kind) = resource.kind else { continue };
            listed.insert(kind.clone());
            if can {
                types.entry(kind).or_default().extend(names);
            }
        }
        Some(Self { types, listed })
    }

    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// All types that the server has, sorted.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().map(String::as_str)
    }

    pub fn has(&self, kind: &str) -> bool {
        self.types.contains_key(kind)
    }

    /// The parameter that finds the resources of a patient.
    pub fn of_patients(&self, kind: &str) -> Option<&'static str> {
        let names = self.types.get(kind)?;
        let in_compartment = PATIENT_COMPARTMENT.binary_search(&kind).is_ok();
        if kind == "Patient" {
            // Every server that searches patients at all finds them by id.
            return Some("_id");
        }
        if names.is_empty() {
            // Nothing is said of parameters; FHIR has this one for nearly every type of the compartment.
            return (in_compartment && !NO_PATIENT.contains(&kind)).then_some("patient");
        }
        let named = |parameter: &&&str| names.iter().any(|name| name == **parameter);
        // Outside the compartment a `subject` may be anything.
        OF_A_PATIENT.iter().filter(|parameter| in_compartment || **parameter == "patient").find(named).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(resources: &str) -> Searchable {
        let body = format!(
            r#"{{"resourceType":"CapabilityStatement","rest":[{{"mode":"client","resource":[{{"type":"Flag","searchParam":[{{"name":"patient"}}]}}]}},{{"mode":"server","resource":[{resources}]}}]}}"#
        );
        Searchable::read(body.as_bytes()).unwrap()
    }

    #[test]
    fn the_parameter_for_a_patient_is_what_the_server_lists() {
        let search = r#""interaction":[{"code":"read"},{"code":"search-type"}]"#;
        let server = server(&format!(
            r#"{{"type":"Patient",{search},"searchParam":[{{"name":"name"}}]}},
               {{"type":"Observation",{search},"searchParam":[{{"name":"subject"}},{{"name":"patient"}}]}},
               {{"type":"Composition",{search},"searchParam":[{{"name":"subject"}}]}},
               {{"type":"Coverage",{search},"searchParam":[{{"name":"beneficiary"}}]}},
               {{"type":"Goal",{search}}},
               {{"type":"Device",{search},"searchParam":[{{"name":"patient"}}]}},
               {{"type":"Library",{search},"searchParam":[{{"name":"subject"}}]}},
               {{"type":"Practitioner",{search},"searchParam":[{{"name":"name"}}]}},
               {{"type":"Condition","interaction":[{{"code":"read"}}],"searchParam":[{{"name":"patient"}}]}},
               {{"type":"Immunization","searchParam":[{{"name":"patient"}}]}},
               {{"type":"Procedure"}}"#
        ));
        for (kind, by) in [
            ("Patient", Some("_id")),
            ("Observation", Some("patient")),
            ("Composition", Some("subject")),
            ("Coverage", Some("beneficiary")),
            ("Goal", Some("patient")),
            ("Device", Some("patient")),
            ("Immunization", Some("patient")),
            ("Library", None),
            ("Practitioner", None),
            ("Condition", None),
            ("Procedure", None),
            ("Flag", None),
        ] {
            assert_eq!(server.of_patients(kind), by, "{kind}");
        }
        assert!(server.has("Practitioner") && !server.has("Condition"));
    }

    #[test]
    fn a_statement_may_say_nothing_and_another_answer_is_none() {
        assert_eq!(Searchable::read(br#"{"resourceType":"CapabilityStatement"}"#).unwrap().types().count(), 0);
        for body in [&b"{}"[..], b"<html>", br#"{"resourceType":"OperationOutcome"}"#] {
            assert!(Searchable::read(body).is_none());
        }
    }
}
