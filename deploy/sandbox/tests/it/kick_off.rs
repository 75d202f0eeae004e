use std::time::Duration;

use bulkhead_sandbox::{Sandbox, SandboxConfig};
use serde_json::{Value, json};

use crate::harness::{GROUP, body, count_lines, get, header, http, json, kick_off, quick, start};

fn with(switches: &str) -> SandboxConfig {
    SandboxConfig { switches: switches.to_owned(), ..quick() }
}

async fn ask(sandbox: &Sandbox, query: &str) -> reqwest::Response {
    kick_off(sandbox, &format!("Group/{GROUP}/$export?{query}")).send().await.unwrap()
}

async fn post(sandbox: &Sandbox, parameters: Value) -> reqwest::Response {
    let body = json!({"resourceType": "Parameters", "parameter": parameters});
    let url = format!("{}/Group/{GROUP}/$export", sandbox.base_url());
    http().post(url).header("prefer", "respond-async").json(&body).send().await.unwrap()
}

async fn manifest_of(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), 202);
    json(header(&response, "content-location")).await
}

async fn lines_of(file: &Value) -> Vec<Value> {
    let body = body(file["url"].as_str().unwrap()).await.unwrap();
    body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn speaks_only_its_own_dialect() {
    let list = |name: &str, values: &[&str]| -> Value { values.iter().map(|value| json!({"name": name, "valueString": value})).collect() };
    let old = start(with("method=get lists=comma"));
    assert_eq!(ask(&old, "_type=Patient,Condition").await.status(), 202);
    assert_eq!(ask(&old, "_type=Patient&_type=Condition").await.status(), 400);
    assert_eq!(post(&old, list("_type", &["Patient"])).await.status(), 405);
    let new = start(with("method=post lists=repeated dialect-status=415"));
    assert_eq!(ask(&new, "_type=Patient").await.status(), 415);
    assert_eq!(post(&new, list("_type", &["Patient,Condition"])).await.status(), 415);
    assert_eq!(post(&new, list("_type", &["Patient", "Condition"])).await.status(), 202);
}

#[tokio::test]
async fn refuses_a_parameter_in_the_words_of_each_server() {
    for (wording, says) in [
        ("plain", "_elements is not supported"),
        ("hapi", "HAPI-0302"),
        ("cerner", "Unsupported query parameter: _elements"),
        ("azure", "'_elements' is invalid"),
        ("coded", "\"expression\":[\"_elements\"]"),
        ("vague", "cannot be processed"),
    ] {
        let sandbox = start(with(&format!("support=all refuse=_elements wording={wording}")));
        let refused = ask(&sandbox, "_elements=id").await;
        assert_eq!(refused.status(), 400);
        let text = refused.text().await.unwrap();
        assert!(text.contains(says), "{text}");
        let lenient = kick_off(&sandbox, "$export?_elements=id").header("prefer", "handling=lenient");
        assert_eq!(lenient.send().await.unwrap().status(), 202);
    }
    let sandbox = start(with("ignore=_since support=_typeFilter one-filter-a-type"));
    let ignored = manifest_of(ask(&sandbox, "_since=2099-01-01T00:00:00Z&_type=Patient").await).await;
    assert_eq!(ignored["output"][0]["count"], 3);
    assert_eq!(ask(&sandbox, "_typeFilter=Patient%3Fgender%3Dmale,Patient%3Fgender%3Dfemale").await.status(), 400);
}

#[tokio::test]
async fn filters_by_until_type_filter_and_elements() {
    let sandbox = start(with("support=all"));
    let count = async |query: &str| {
        let manifest = manifest_of(ask(&sandbox, query).await).await;
        manifest["output"].as_array().unwrap().iter().map(|file| file["count"].as_u64().unwrap()).sum::<u64>()
    };
    let all = count("_type=Observation").await;
    let (newer, older) =
        (count("_type=Observation&_since=2025-01-01T00:00:00Z").await, count("_type=Observation&_until=2025-01-01T00:00:00Z").await);
    assert!(newer > 0 && older > 0);
    assert_eq!(newer + older, all);
    let of = |category: &str| format!("_type=Observation&_typeFilter=Observation%3Fcategory%3D{category}");
    let (vital, lab) = (count(&of("vital-signs")).await, count(&of("laboratory")).await);
    let either =
        count("_type=Observation&_typeFilter=Observation%3Fcategory%3Dvital-signs&_typeFilter=Observation%3Fcategory%3Dlaboratory");
    assert_eq!(either.await, vital + lab);
    let subset = manifest_of(ask(&sandbox, "_type=Patient,Observation&_elements=Patient.gender").await).await;
    let patient = lines_of(&subset["output"][0]).await.remove(0);
    assert!(patient.get("gender").is_some() && patient.get("name").is_none());
    assert_eq!(patient["meta"]["tag"][0]["code"], "SUBSETTED");
    assert!(lines_of(&subset["output"][1]).await[0].get("issued").is_some(), "other types stay whole");
}

#[tokio::test]
async fn exports_some_patients_and_says_who_is_not_there() {
    let sandbox = start(with("support=all"));
    let group = json(&format!("{}/Group/{GROUP}", sandbox.base_url())).await;
    let id = group["member"][1]["entity"]["reference"].as_str().unwrap();
    let patient = |reference: &str| json!({"name": "patient", "valueReference": {"reference": reference}});
    let manifest = manifest_of(post(&sandbox, json!([patient(id), patient("Patient/nobody")])).await).await;
    for file in manifest["output"].as_array().unwrap() {
        for line in lines_of(file).await {
            let of = line["subject"]["reference"].as_str().or(line["patient"]["reference"].as_str()).map(str::to_owned);
            assert_eq!(of.unwrap_or_else(|| format!("Patient/{}", line["id"].as_str().unwrap())), id);
        }
    }
    let error = lines_of(&manifest["error"][0]).await.remove(0);
    assert!(error["issue"][0]["diagnostics"].as_str().unwrap().ends_with(": Patient/nobody"));
    assert_eq!(ask(&sandbox, "patient=Patient/1").await.status(), 400, "only by POST");
    let associated = manifest_of(ask(&sandbox, "_type=Patient&includeAssociatedData=LatestProvenanceResources").await).await;
    assert_eq!((&associated["output"][1]["type"], &associated["output"][1]["count"]), (&json!("Provenance"), &json!(3)));
}

#[tokio::test]
async fn organizes_files_by_patient() {
    let sandbox = start(SandboxConfig { resources_per_file: 50, ..with("support=all") });
    let manifest = manifest_of(ask(&sandbox, "organizeOutputBy=Patient").await).await;
    let files = manifest["output"].as_array().unwrap();
    assert_eq!(manifest["outputOrganizedBy"], "Patient");
    let (mut resources, mut continued) = (0, 0);
    for (nth, file) in files.iter().enumerate() {
        let lines = lines_of(file).await;
        assert_eq!(lines[0]["parameter"][0]["name"], "header");
        let data = lines.iter().filter(|line| line["resourceType"] != "Parameters").count();
        assert_eq!(file["count"], data);
        assert!(file.get("type").is_none());
        resources += data;
        if let Some(next) = file.get("continuesInFile") {
            assert_eq!(*next, files[nth + 1]["url"]);
            continued += 1;
        }
    }
    assert!(continued > 0);
    assert_eq!(resources as u64, sandbox.expected(Some(GROUP)).values().sum::<u64>());
}

#[tokio::test]
async fn gives_the_first_pages_of_the_manifest_before_the_end() {
    let sandbox = start(SandboxConfig { export_time: Duration::from_secs(4), ..with("support=all") });
    let response = ask(&sandbox, "allowPartialManifests=true").await;
    let status = header(&response, "content-location").to_owned();
    let first = loop {
        let page = get(&status).await;
        assert_eq!(page.status(), 202);
        assert!(!header(&page, "x-progress").is_empty());
        let body = page.text().await.unwrap();
        if !body.is_empty() {
            break serde_json::from_str::<Value>(&body).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(count_lines(&body(first["output"][0]["url"].as_str().unwrap()).await.unwrap()) > 0);
    assert!(first.get("link").is_none());
    let mut done = loop {
        let page = get(&status).await;
        if page.status() == 200 {
            break page.json::<Value>().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(done["output"], first["output"], "a page that was given does not change");
    let mut files = done["output"].as_array().unwrap().len();
    while let Some(next) = done["link"][0]["url"].as_str() {
        done = json(next).await;
        files += done["output"].as_array().unwrap().len();
    }
    assert_eq!(files, sandbox.expected(Some(GROUP)).len());
}

#[tokio::test]
async fn exports_a_group_once_in_a_while_only() {
    let sandbox = start(with("cool-down=1h"));
    assert_eq!(ask(&sandbox, "").await.status(), 202);
    let again = ask(&sandbox, "").await;
    assert_eq!(again.status(), 400);
    assert!(again.text().await.unwrap().contains("requested this Group too recently"));
    assert_eq!(kick_off(&sandbox, "Group/TuftsHealthPlan/$export").send().await.unwrap().status(), 202);
    assert_eq!(sandbox.stats().kick_offs, 2);
    let other = start(quick());
    other.fault("kick-off:too-recently=429");
    assert_eq!(ask(&other, "").await.status(), 429);
}

#[tokio::test]
async fn refuses_too_many_files_until_fewer_types_are_asked_for() {
    let config = |switches| SandboxConfig { resources_per_file: 20, ..with(switches) };
    let early = start(config("most-files=8"));
    let refused = ask(&early, "").await;
    assert_eq!(refused.status(), 413);
    assert!(refused.text().await.unwrap().contains("Too many files"));
    assert_eq!(ask(&early, "_type=Condition").await.status(), 202);
    assert_eq!(early.stats().kick_offs, 1);
    let late = start(config("most-files=8 too-many-at=status"));
    let accepted = ask(&late, "").await;
    assert_eq!(get(header(&accepted, "content-location")).await.status(), 413);
}
