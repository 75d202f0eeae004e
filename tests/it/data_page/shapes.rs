//! Resources in the shapes that servers send, through the real loader: what the page says of them was counted by hand.

use std::time::Duration;

use bulkhead_tests::{App, SandboxConfig, Setup};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{data_of, rows};
use crate::setup;

/// An export of these resources.
async fn export_of(resources: &[Value]) -> (App, Uuid) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
    for resource in resources {
        files.entry(resource["resourceType"].as_str().expect("a type")).or_default().extend([resource.to_string(), "\n".to_owned()]);
    }
    for (name, lines) in files {
        std::fs::write(folder.path().join(format!("{name}.ndjson")), lines).expect("a file");
    }
    let data = vec![("shapes".to_owned(), folder.path().to_owned())];
    let app = App::start(Setup { sandbox: SandboxConfig { data, export_time: Duration::ZERO, ..setup().sandbox }, ..setup() }).await;
    let job = app.export("shapes").await;
    app.until(job, "completed").await;
    (app, job)
}

fn of(resource_type: &str, id: &str, patient: &str, mut more: Value) -> Value {
    let own = more.as_object_mut().expect("an object");
    own.insert("resourceType".to_owned(), resource_type.into());
    own.insert("id".to_owned(), id.into());
    if resource_type != "Patient" && resource_type != "Medication" {
        own.insert("subject".to_owned(), json!({"reference": format!("Patient/{patient}")}));
    }
    more
}

fn concept(code: &str, display: &str) -> Value {
    json!({"coding": [{"system": "http://example.org", "code": code, "display": display}]})
}

fn table(rows: &[&[&str]]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|&text| text.to_owned()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn patients_are_as_old_as_they_became_and_whoever_says_little_is_counted() {
    let (app, job) = export_of(&[
        of("Patient", "a", "", json!({"gender": "male", "birthDate": "1980-05-05"})),
        of("Patient", "b", "", json!({"gender": "female", "birthDate": "1900", "deceasedDateTime": "1925-06-30T12:00:00+02:00"})),
        of("Patient", "c", "", json!({"gender": "female", "birthDate": "1900-01", "deceasedDateTime": "nobody knows"})),
        of("Patient", "d", "", json!({"birthDate": "long ago"})),
        of("Patient", "e", "", json!({"gender": "other", "birthDate": "1950-01-01", "deceasedBoolean": true})),
        of("Patient", "f", "", json!({"gender": "unknown", "birthDate": "1995-06-30", "deceasedDateTime": "1995"})),
        of("Patient", "g", "", json!({"gender": "male", "birthDate": "1980-05-05", "deceasedBoolean": false})),
        of("Condition", "1", "elsewhere", json!({"code": concept("x", "X")})),
    ])
    .await;
    let found = data_of(&app, job, "bands=20").await;
    let people = rows(&found, "people");
    assert!(people.contains(&table(&[&["female", "20", "39", "1"]])[0]), "who died at 25 is 25: {people:?}");
    assert!(people.contains(&table(&[&["female", "-", "-", "1"]])[0]), "who died nobody knows when has no age: {people:?}");
    assert!(people.contains(&table(&[&["other", "-", "-", "1"]])[0]), "nor who is only said to be dead: {people:?}");
    assert!(people.contains(&table(&[&["unknown", "0", "19", "1"]])[0]), "a year of death that holds the birth: {people:?}");
    assert!(people.contains(&table(&[&["male", "40", "59", "2"]])[0]), "{people:?}");
    assert!(people.contains(&table(&[&["-", "-", "-", "1"]])[0]), "nothing is known: {people:?}");
    let young = data_of(&app, job, "age=25-25").await;
    assert_eq!(rows(&young, "totals")[0][1], "1", "the filter counts as the chart does");
    let totals = &rows(&found, "totals")[0];
    assert_eq!((totals[0].as_str(), totals[5].as_str()), ("8", "1"), "seven patients, and one whom a resource is about");
}

#[tokio::test(flavor = "multi_thread")]
async fn encounters_of_every_version_have_their_class_and_their_year_in_utc() {
    let (app, job) = export_of(&[
        of("Patient", "p", "", json!({})),
        of(
            "Encounter",
            "r4",
            "p",
            json!({"status": "finished", "class": {"code": "AMB"}, "period": {"start": "2019-12-31T23:30:00-05:00"}}),
        ),
        of(
            "Encounter",
            "r5",
            "p",
            json!({"status": "completed", "class": [{"coding": [{"code": "EMER"}]}], "actualPeriod": {"start": "2018"}}),
        ),
        of("Encounter", "r2", "p", json!({"status": "finished", "class": "inpatient"})),
        of("Encounter", "never", "p", json!({"status": "cancelled", "class": {"code": "AMB"}, "period": {"start": "2020-01-01"}})),
        of("Encounter", "wrong", "p", json!({"status": "entered-in-error", "class": {"code": "AMB"}})),
        of("Encounter", "not yet", "p", json!({"status": "planned", "class": {"code": "AMB"}, "period": {"start": "2099-01-01"}})),
    ])
    .await;
    let found = data_of(&app, job, "").await;
    let expected = table(&[&["-", "inpatient", "1"], &["2018", "EMER", "1"], &["2020", "AMB", "1"]]);
    assert_eq!(rows(&found, "encounters"), expected);
    assert_eq!(rows(&found, "resources"), table(&[&["Encounter", "1", "6"], &["Patient", "1", "1"]]), "every row is a resource");
    assert_eq!(rows(&found, "totals")[0], ["1", "1", "7", "7", "3", "0"], "and three are said to be left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_that_are_refuted_are_nobodys_and_a_concept_has_one_code() {
    let status = |code: &str| json!({"coding": [{"code": code}]});
    let (app, job) = export_of(&[
        of("Patient", "p", "", json!({})),
        of("Patient", "q", "", json!({})),
        of(
            "Condition",
            "1",
            "p",
            json!({"code": {"coding": [{"display": "no code"}, {"code": "a", "display": "A"}, {"code": "b"}], "text": "t"}}),
        ),
        of("Condition", "2", "p", json!({"code": concept("a", "A"), "verificationStatus": status("confirmed")})),
        of("Condition", "3", "q", json!({"code": concept("a", "A"), "verificationStatus": status("refuted")})),
        of("Condition", "4", "q", json!({"code": concept("a", "A"), "verificationStatus": status("entered-in-error")})),
        of("Condition", "5", "q", json!({"code": concept("a", "A"), "verificationStatus": "refuted"})),
        of(
            "Condition",
            "8",
            "q",
            json!({"code": concept("a", "A"), "verificationStatus": {"coding": [{"code": "own"}, {"code": "refuted"}]}}),
        ),
        of("Condition", "9", "p", json!({"code": {"coding": [{"code": "", "display": ""}], "text": ""}})),
        of("Condition", "6", "q", json!({"code": {"text": "only words"}, "verificationStatus": status("provisional")})),
        of("Condition", "7", "q", json!({})),
    ])
    .await;
    let found = data_of(&app, job, "").await;
    let expected = table(&[&["-", "-", "2", "2"], &["a", "A", "1", "2"], &["only words", "only words", "1", "1"]]);
    assert_eq!(rows(&found, "conditions"), expected);
    let with = data_of(&app, job, "condition=a").await;
    assert_eq!(rows(&with, "totals")[0][1], "1", "whose condition is refuted does not have it");
    let any = data_of(&app, job, "resource_type=Condition").await;
    assert_eq!(rows(&any, "totals")[0][1], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_two_units_and_of_the_parts_of_a_pressure_are_never_mixed() {
    let quantity = |value: Value, unit: &str| json!({"value": value, "unit": unit});
    let part = |code: &str, name: &str, value: Value| json!({"code": concept(code, name), "valueQuantity": quantity(value, "mmHg")});
    let (app, job) = export_of(&[
        of("Patient", "p", "", json!({})),
        of("Observation", "1", "p", json!({"code": concept("w", "Weight"), "valueQuantity": quantity(json!(70), "kg"), "effectivePeriod": {"start": "2001-02"}})),
        of("Observation", "2", "p", json!({"code": concept("w", "Weight"), "valueQuantity": quantity(json!(154.5), "[lb_av]"), "effectiveInstant": "2002-01-01T00:00:00Z"})),
        of("Observation", "3", "p", json!({"code": concept("w", "Weight"), "valueQuantity": quantity(json!(9999), "kg"), "status": "entered-in-error"})),
        of("Observation", "4", "p", json!({"code": concept("bp", "Pressure"), "effectiveDateTime": "2003-07-01", "component":
            [part("s", "Systolic", json!(120)), part("d", "Diastolic", json!(80)), {"code": concept("n", "Note"), "valueString": "fine"}]})),
        of("Observation", "5", "p", json!({"code": concept("bp", "Pressure"), "effectiveDateTime": "2003-08-01", "component": [part("s", "Systolic", json!(140))]})),
        of("Observation", "10", "p", json!({"code": concept("bp", "Pressure"), "effectiveDateTime": "2003-09-01", "component": [part("s", "Systolic", json!(160))]})),
        of("Observation", "8", "p", json!({"code": concept("w", "Weight"), "valueQuantity": {"value": 500, "unit": "kg", "comparator": ">"}})),
        of("Observation", "9", "p", json!({"code": concept("a", "Apgar"), "valueQuantity": quantity(json!(9), "{score}"), "effectiveDateTime": "2004",
            "component": [part("h", "Heart", json!(2)), {"code": concept("s", "Skin"), "valueQuantity": {"value": 1, "comparator": "<"}}]})),
        of("Observation", "6", "p", json!({"code": concept("bp", "Pressure"), "status": "cancelled", "component": [part("s", "Systolic", json!(1))]})),
        of("Observation", "7", "p", json!({"code": concept("bp", "Pressure"), "component": {"odd": true}})),
    ])
    .await;
    let weights = data_of(&app, job, "values_of=w").await;
    let first = |data: &Value| -> Vec<Vec<String>> { rows(data, "trend").into_iter().map(|row| row[..5].to_vec()).collect() };
    assert_eq!(first(&weights), table(&[&["-", "[lb_av]", "2002", "1", "154.5"], &["-", "kg", "2001", "1", "70.0"]]));
    assert!(["kg", "[lb_av]"].contains(&weights["unit"].as_str().expect("a unit")));
    let pressures = data_of(&app, job, "").await;
    assert_eq!(pressures["unit"], "mmHg");
    assert_eq!(pressures["values_of"], "bp", "what has the most values is shown where nobody chose");
    assert_eq!(first(&pressures), table(&[&["Diastolic", "mmHg", "2003", "1", "80.0"], &["Systolic", "mmHg", "2003", "3", "140.0"]]));
    assert_eq!(
        rows(&pressures, "observations"),
        table(&[&["a", "Apgar", "1", "1"], &["bp", "Pressure", "1", "4"], &["w", "Weight", "1", "3"]]),
        "a part is no observation"
    );
    let offered: Vec<_> = pressures["measured"].as_array().expect("a list").iter().map(|one| one["code"].as_str()).collect();
    assert_eq!(offered, [Some("bp"), Some("w"), Some("a")]);
    let scores = data_of(&app, job, "values_of=a").await;
    let expected = table(&[&["-", "{score}", "2004", "1", "9.0"], &["Heart", "mmHg", "2004", "1", "2.0"]]);
    assert_eq!(first(&scores), expected, "the parts of an observation that has a value of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prescription_that_only_refers_to_its_medication_has_its_name() {
    let (app, job) = export_of(&[
        of("Patient", "p", "", json!({})),
        of("Medication", "m", "", json!({"code": concept("asp", "Aspirin")})),
        of("MedicationRequest", "1", "p", json!({"medicationCodeableConcept": concept("asp", "Aspirin")})),
        of("MedicationRequest", "2", "p", json!({"medicationReference": {"reference": "Medication/m", "display": "not this"}})),
        of(
            "MedicationRequest",
            "3",
            "p",
            json!({"medicationReference": {"reference": "https://fhir.example.org/Medication/m/_history/1"}}),
        ),
        of(
            "MedicationRequest",
            "4",
            "p",
            json!({"medicationReference": {"reference": "#in"}, "contained": [{"id": "in", "code": concept("ibu", "Ibuprofen")}]}),
        ),
        of("MedicationRequest", "5", "p", json!({"medicationReference": {"reference": "Medication/elsewhere", "display": "Some syrup"}})),
        of("MedicationRequest", "6", "p", json!({"medication": {"concept": {"coding": [{"code": "pen"}], "text": "Penicillin"}}})),
        of("MedicationRequest", "7", "p", json!({"medication": {"reference": {"reference": "Medication/m"}}, "status": "active"})),
        of("MedicationRequest", "8", "p", json!({"medicationCodeableConcept": concept("asp", "Aspirin"), "status": "cancelled"})),
        of("MedicationRequest", "9", "p", json!({"medicationCodeableConcept": concept("asp", "Aspirin"), "doNotPerform": true})),
        of(
            "MedicationRequest",
            "plan",
            "p",
            json!({"medicationCodeableConcept": concept("asp", "Aspirin"), "status": "active", "intent": "proposal"}),
        ),
        of(
            "MedicationRequest",
            "draft",
            "p",
            json!({"medicationCodeableConcept": concept("asp", "Aspirin"), "status": "draft", "intent": "order"}),
        ),
        of("MedicationRequest", "x", "p", json!({"medicationReference": "odd", "contained": "odd"})),
    ])
    .await;
    let expected = table(&[
        &["-", "-", "1", "1"],
        &["Some syrup", "Some syrup", "1", "1"],
        &["asp", "Aspirin", "1", "4"],
        &["ibu", "Ibuprofen", "1", "1"],
        &["pen", "Penicillin", "1", "1"],
    ]);
    assert_eq!(rows(&data_of(&app, job, "").await, "medications"), expected);
    let (_, csv) = app.request(Method::GET, &format!("/api/bulk-data/data/medications?etl_job_id={job}&format=csv"), None, &[]).await;
    assert_eq!(csv.as_str().map(|text| text.lines().count()), Some(1 + expected.len()), "all of it is in the file");
}
