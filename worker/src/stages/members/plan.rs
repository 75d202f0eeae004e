//! Which searches take the place of an export: types, filters, chunks of patients.

use std::collections::HashSet;

use bulkhead_shared::{
    db::export_files::searches::NewSearch,
    domain::{
        export::{Ask, Level},
        finding::{Finding, FindingKind, Severity},
        search::{BESIDE_PATIENTS, PATIENT_COMPARTMENT, Patients, Search},
    },
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::fhir::searchable::Searchable;

/// Parameters of a bulk export that say how it is made, not what is in it.
const OF_THE_FORM: &[&str] = &["_outputFormat", "allowPartialManifests", "organizeOutputBy"];
const FILTERS: &[&str] = &["_typeFilter", "_elements", "_until", "patient"];

/// Whose resources are wanted.
#[derive(Debug, Clone)]
pub enum Whose {
    Patients(Vec<String>),
    Everybody,
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub ask: &'a Ask,
    /// Of these types only: the others are here already.
    pub only: Option<&'a [String]>,
    /// What is searched for already, by an earlier plan.
    pub known: &'a [Search],
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    pub searches: Vec<NewSearch>,
    pub findings: Vec<Finding>,
    /// There are no patients to search for.
    pub nobody: bool,
}

/// Makes the plan. `chunk`: patients in one search.
pub fn plan(wanted: &Wanted<'_>, base: &str, searchable: &Searchable, whose: Whose, chunk: usize) -> Plan {
    let ask = wanted.ask;
    let mut plan = Plan::default();
    let whose = plan.only_wanted(ask, whose);
    plan.nobody = matches!(&whose, Whose::Patients(ids) if ids.is_empty());
    plan.not_applied(ask);
    for (kind, by) in plan.types(wanted, searchable, &whose) {
        for query in queries(ask, &kind) {
            let chunks: Vec<Option<Patients>> = match (&whose, by) {
                (Whose::Patients(ids), Some(by)) => {
                    let ids = wanted.unknown(&kind, &query, ids);
                    ids.chunks(chunk.max(1)).map(|ids| Some(Patients { by: by.to_owned(), ids: ids.to_vec() })).collect()
                }
                (Whose::Patients(_), None) => continue,
                (Whose::Everybody, _) => vec![None],
            };
            for patients in chunks {
                let search = Search { resource_type: kind.clone(), patients, query: query.clone() };
                plan.searches.push(NewSearch { url: format!("{base}/{kind}"), key: key(&search), search });
            }
        }
    }
    plan
}

/// The same for the same search, and for no other: a plan that is made again adds only what is new.
fn key(search: &Search) -> String {
    let digest = Sha256::digest(serde_json::to_vec(search).unwrap_or_default());
    let digest: u128 = digest.iter().take(16).fold(0, |all, byte| all << 8 | u128::from(*byte));
    format!("search:{}:{digest:032x}", search.resource_type)
}

impl Wanted<'_> {
    /// The patients of whom nobody asks this yet.
    fn unknown(&self, kind: &str, query: &[(String, String)], ids: &[String]) -> Vec<String> {
        let same = self.known.iter().filter(|search| search.resource_type == kind && search.query == query);
        let known: HashSet<&String> = same.flat_map(|search| search.patients.iter().flat_map(|patients| &patients.ids)).collect();
        ids.iter().filter(|id| !known.contains(id)).cloned().collect()
    }
}

impl Plan {
    fn find(&mut self, severity: Severity, kind: FindingKind, resource_type: Option<&str>, message: String) {
        self.findings.push(Finding { severity, kind, resource_type: resource_type.map(str::to_owned), file: None, message });
    }

    /// The patients that `patient` names, if it names any.
    fn only_wanted(&mut self, ask: &Ask, whose: Whose) -> Whose {
        let named: Vec<String> = values(ask, "patient")
            .iter()
            .flat_map(|value| value.split(','))
            .map(|reference| reference.trim().rsplit('/').next().unwrap_or_default().to_owned())
            .filter(|id| !id.is_empty())
            .collect();
        if named.is_empty() {
            return whose;
        }
        let Whose::Patients(members) = whose else { return Whose::Patients(named) };
        let members: HashSet<String> = members.into_iter().collect();
        let (wanted, strangers): (Vec<String>, Vec<String>) = named.into_iter().partition(|id| members.contains(id));
        if !strangers.is_empty() {
            let message = format!("Patients asked for that are not in the Group: {}.", strangers.len());
            self.find(Severity::Warning, FindingKind::MembersLeftOut, None, message);
        }
        Whose::Patients(wanted)
    }

    /// What a search cannot do.
    fn not_applied(&mut self, ask: &Ask) {
        for name in ask.parameters.keys().filter(|name| !OF_THE_FORM.contains(&name.as_str()) && !FILTERS.contains(&name.as_str())) {
            self.find(Severity::Warning, FindingKind::FilterNotApplied, None, format!("The parameter {name} means nothing to a search."));
        }
    }

    /// The types to search, each with the parameter for its patients.
    fn types(&mut self, wanted: &Wanted<'_>, searchable: &Searchable, whose: &Whose) -> Vec<(String, Option<&'static str>)> {
        let ask = wanted.ask;
        let is_left = |kind: &str| wanted.only.is_none_or(|only| only.iter().any(|left| left == kind));
        let by_patient = matches!(whose, Whose::Patients(_));
        let how = |kind: &str| {
            let by = searchable.of_patients(kind);
            if by_patient { by.map(Some) } else { searchable.has(kind).then_some(by) }
        };
        let mut types = Vec::new();
        for kind in ask.resource_types.iter().filter(|kind| is_left(kind)) {
            if let Some(by) = how(kind) {
                types.push((kind.clone(), by));
                continue;
            }
            let by = if by_patient { " by patient" } else { "" };
            let message = format!("{kind} was asked for by name, and the server cannot search it{by}: nothing of it was read.");
            self.find(Severity::Error, FindingKind::TypeNotSearched, Some(kind), message);
        }
        if ask.resource_types.is_empty() {
            let whole_system = ask.level == Level::System;
            types = searchable
                .types()
                .filter(|kind| is_left(kind))
                .filter(|kind| whole_system || searchable.of_patients(kind).is_some())
                .filter_map(|kind| how(kind).map(|by| (kind.to_owned(), by)))
                .collect();
            let beside: Vec<&str> = searchable.listed().filter(|kind| types.iter().all(|(searched, _)| searched != kind)).collect();
            let beside: Vec<&str> = beside
                .into_iter()
                .filter(|kind| is_left(kind))
                .filter(|kind| *kind != "Group" && (PATIENT_COMPARTMENT.contains(kind) || BESIDE_PATIENTS.contains(kind)))
                .collect();
            if !beside.is_empty() {
                let message =
                    format!("Types that the server has and cannot search by patient, of which nothing was read: {}.", beside.join(", "));
                self.find(Severity::Warning, FindingKind::TypeNotSearched, None, message);
            }
        }
        types
    }
}

/// The further parameters of a type's searches: one list for each of its `_typeFilter`s, which are alternatives.
fn queries(ask: &Ask, kind: &str) -> Vec<Vec<(String, String)>> {
    let mut all = Vec::new();
    if let Some(since) = &ask.since {
        // `gt` would leave out what changed within the same second as the moment, where that has no fraction.
        all.push(("_lastUpdated".to_owned(), format!("ge{since}")));
    }
    for until in values(ask, "_until") {
        all.push(("_lastUpdated".to_owned(), format!("le{until}")));
    }
    let elements: Vec<String> = values(ask, "_elements")
        .iter()
        .flat_map(|value| value.split(','))
        .filter_map(|element| match element.trim().split_once('.') {
            Some((of, element)) if of.starts_with(|c: char| c.is_ascii_uppercase()) => (of == kind).then(|| element.to_owned()),
            _ => Some(element.trim().to_owned()),
        })
        .filter(|element| !element.is_empty())
        .collect();
    if !elements.is_empty() {
        all.push(("_elements".to_owned(), elements.join(",")));
    }
    let filters: Vec<Vec<(String, String)>> = values(ask, "_typeFilter")
        .iter()
        .flat_map(|value| type_filters(value))
        .filter_map(|filter| {
            let (of, query) = filter.split_once('?')?;
            (of == kind).then(|| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
        })
        .collect();
    if filters.is_empty() {
        return vec![all];
    }
    filters.into_iter().map(|filter| all.iter().cloned().chain(filter).collect()).collect()
}

/// `Type?query,Type?query`: a comma before a type parts two filters, any other is of a value.
fn type_filters(value: &str) -> Vec<String> {
    let mut filters: Vec<String> = Vec::new();
    for piece in value.split(',') {
        let begins = piece.trim().split_once('?').is_some_and(|(kind, _)| bulkhead_shared::domain::resource::is_type_name(kind));
        match filters.last_mut() {
            Some(last) if !begins => {
                last.push(',');
                last.push_str(piece);
            }
            _ => filters.push(piece.trim().to_owned()),
        }
    }
    filters
}

/// The values of a parameter, each as text.
fn values(ask: &Ask, name: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match ask.parameters.get(name) {
        Some(Value::Array(values)) => values.iter().map(text).collect(),
        Some(value) => vec![text(value)],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server() -> Searchable {
        let search = json!([{"code": "search-type"}]);
        let statement = json!({"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "resource": [
            {"type": "Patient", "interaction": search, "searchParam": [{"name": "_id"}]},
            {"type": "Observation", "interaction": search, "searchParam": [{"name": "patient"}]},
            {"type": "Condition", "interaction": search, "searchParam": [{"name": "subject"}]},
            {"type": "Practitioner", "interaction": search, "searchParam": [{"name": "name"}]},
            {"type": "Goal", "interaction": [{"code": "read"}]},
            {"type": "ValueSet", "interaction": search, "searchParam": [{"name": "url"}]},
            {"type": "Group", "interaction": search},
        ]}]});
        Searchable::read(statement.to_string().as_bytes()).unwrap()
    }

    fn ask(level: Level, types: &[&str], since: Option<&str>, parameters: Value) -> Ask {
        Ask {
            level,
            group_id: (level == Level::Group).then(|| "g".to_owned()),
            resource_types: types.iter().map(|kind| (*kind).to_owned()).collect(),
            since: since.map(str::to_owned),
            parameters: parameters.as_object().cloned().unwrap_or_default(),
            lenient: false,
        }
    }

    fn patients(n: usize) -> Whose {
        Whose::Patients((0..n).map(|n| format!("p{n}")).collect())
    }

    fn planned(ask: &Ask, whose: Whose) -> Plan {
        planned_beside(&[], ask, whose)
    }

    fn planned_beside(known: &[Search], ask: &Ask, whose: Whose) -> Plan {
        plan(&Wanted { ask, only: None, known }, "https://h/r4", &server(), whose, 2)
    }

    fn said(plan: &Plan) -> Vec<(FindingKind, Severity)> {
        plan.findings.iter().map(|finding| (finding.kind, finding.severity)).collect()
    }

    #[test]
    fn every_patient_is_in_one_chunk_of_each_type() {
        let plan = planned(&ask(Level::Group, &[], None, json!({})), patients(5));
        for (kind, by) in [("Patient", "_id"), ("Observation", "patient"), ("Condition", "subject")] {
            let chunks: Vec<_> = plan.searches.iter().filter(|s| s.search.resource_type == kind).collect();
            assert_eq!(chunks.len(), 3);
            let ids: Vec<String> = chunks.iter().flat_map(|s| s.search.patients.clone().unwrap().ids).collect();
            assert_eq!(ids, ["p0", "p1", "p2", "p3", "p4"]);
            assert!(chunks.iter().all(|s| s.search.patients.as_ref().unwrap().by == by));
        }
        assert_eq!(plan.searches.len(), 9);
        let keys: HashSet<_> = plan.searches.iter().map(|s| s.key.as_str()).collect();
        assert!(keys.len() == 9 && keys.iter().all(|key| key.starts_with("search:")), "{keys:?}");
        assert_eq!(said(&plan), [(FindingKind::TypeNotSearched, Severity::Warning)]);
        assert!(plan.findings[0].message.ends_with("Goal, Practitioner."), "{}", plan.findings[0].message);
    }

    #[test]
    fn a_plan_that_is_made_again_has_only_what_is_new() {
        let wanted = ask(Level::Group, &["Observation"], None, json!({}));
        let known: Vec<Search> = planned(&wanted, patients(5)).searches.into_iter().map(|new| new.search).collect();
        let of = |plan: &Plan| plan.searches.iter().flat_map(|s| s.search.patients.clone().unwrap().ids).collect::<Vec<_>>();
        assert_eq!(of(&planned_beside(&known, &wanted, patients(8))), ["p5", "p6", "p7"]);
        assert!(planned_beside(&known, &wanted, patients(5)).searches.is_empty());
        let since = ask(Level::Group, &["Observation"], Some("2024-01-01T00:00:00Z"), json!({}));
        assert_eq!(of(&planned_beside(&known, &since, patients(1))), ["p0"], "that is another question");
    }

    #[test]
    fn a_named_type_that_cannot_be_searched_is_an_error() {
        let plan = planned(&ask(Level::Group, &["Observation", "Practitioner", "Goal"], None, json!({})), patients(1));
        assert_eq!(plan.searches.len(), 1);
        assert_eq!(said(&plan), [(FindingKind::TypeNotSearched, Severity::Error); 2]);
    }

    #[test]
    fn whole_types_are_searched_for_everybody() {
        let kinds = |plan: &Plan| plan.searches.iter().map(|s| s.search.resource_type.clone()).collect::<Vec<_>>();
        let everybody = planned(&ask(Level::Patient, &[], None, json!({})), Whose::Everybody);
        assert_eq!(kinds(&everybody), ["Condition", "Observation", "Patient"]);
        assert!(everybody.searches.iter().all(|s| s.search.patients.is_none()));
        let system = planned(&ask(Level::System, &[], None, json!({})), Whose::Everybody);
        assert_eq!(kinds(&system), ["Condition", "Group", "Observation", "Patient", "Practitioner", "ValueSet"]);
        let named = planned(&ask(Level::System, &["Practitioner", "Goal"], None, json!({})), Whose::Everybody);
        assert_eq!((kinds(&named), said(&named)), (vec!["Practitioner".to_owned()], vec![(FindingKind::TypeNotSearched, Severity::Error)]));
    }

    #[test]
    fn filters_become_parameters_and_what_cannot_is_said() {
        let parameters = json!({
            "_typeFilter": ["Observation?code=a,b&status=final,Condition?code=x", "Observation?code=c"],
            "_elements": "id,Patient.name,Observation.status",
            "_until": "2025-01-01T00:00:00Z",
            "organizeOutputBy": "Patient",
            "_vendor": true,
        });
        let plan =
            planned(&ask(Level::Group, &["Observation", "Condition", "Patient"], Some("2024-01-01T00:00:00Z"), parameters), patients(1));
        let queries = |kind: &str| -> Vec<String> {
            let text =
                |query: &[(String, String)]| query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
            plan.searches.iter().filter(|s| s.search.resource_type == kind).map(|s| text(&s.search.query)).collect()
        };
        let dates = "_lastUpdated=ge2024-01-01T00:00:00Z&_lastUpdated=le2025-01-01T00:00:00Z";
        assert_eq!(
            queries("Observation"),
            [format!("{dates}&_elements=id,status&code=a,b&status=final"), format!("{dates}&_elements=id,status&code=c")]
        );
        assert_eq!(queries("Condition"), [format!("{dates}&_elements=id&code=x")]);
        assert_eq!(queries("Patient"), [format!("{dates}&_elements=id,name")]);
        assert_eq!(said(&plan), [(FindingKind::FilterNotApplied, Severity::Warning)]);
        assert!(plan.findings[0].message.contains("_vendor"));
    }

    #[test]
    fn only_the_patients_asked_for_are_searched() {
        let ids = |plan: &Plan| plan.searches.iter().flat_map(|s| s.search.patients.clone().unwrap().ids).collect::<Vec<_>>();
        let wanted = json!({"patient": ["Patient/p3", "p0,Patient/stranger"]});
        let plan = planned(&ask(Level::Group, &["Observation"], None, wanted.clone()), patients(5));
        assert_eq!(
            (ids(&plan), said(&plan)),
            (vec!["p3".to_owned(), "p0".to_owned()], vec![(FindingKind::MembersLeftOut, Severity::Warning)])
        );
        let plan = planned(&ask(Level::Patient, &["Observation"], None, wanted), Whose::Everybody);
        assert_eq!(ids(&plan), ["p3", "p0", "stranger"]);
    }

    #[test]
    fn types_that_are_here_already_are_not_searched() {
        let left = ["Observation".to_owned(), "Practitioner".to_owned(), "Goal".to_owned()];
        let of = |types: &[&str]| {
            let ask = ask(Level::Group, types, None, json!({}));
            let plan = plan(&Wanted { ask: &ask, only: Some(&left), known: &[] }, "https://h/r4", &server(), patients(1), 2);
            (plan.searches.iter().map(|s| s.search.resource_type.clone()).collect::<Vec<_>>(), said(&plan))
        };
        assert_eq!(of(&[]), (vec!["Observation".to_owned()], vec![(FindingKind::TypeNotSearched, Severity::Warning)]));
        assert_eq!(of(&["Patient", "Observation", "Condition"]), (vec!["Observation".to_owned()], vec![]));
    }

    #[test]
    fn an_empty_group_is_nobody() {
        let plan = planned(&ask(Level::Group, &["Observation"], None, json!({})), patients(0));
        assert!(plan.searches.is_empty() && plan.nobody);
    }
}
