use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_sandbox::SandboxConfig;
use serde_json::{Value, json};

use crate::harness::{GROUP, body, count_lines, get, header, http, json, kick_off, manifest, quick, start, status_url};

#[tokio::test]
async fn exports_a_group_with_the_counts_it_promises() {
    let sandbox = start(SandboxConfig { resources_per_file: 50, ..quick() });
    let manifest = manifest(&sandbox).await;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for file in manifest["output"].as_array().unwrap() {
        let kind = file["type"].as_str().unwrap();
        let lines = body(file["url"].as_str().unwrap()).await.unwrap();
        let count = count_lines(&lines);
        assert_eq!(file["count"], count);
        assert!(count <= 50);
        *counts.entry(kind.to_owned()).or_default() += count;
        contents.entry(kind.to_owned()).or_default().extend(lines);
    }
    assert_eq!(counts, sandbox.expected(Some(GROUP)));
    for (kind, lines) in contents {
        assert_eq!(lines, sandbox.ndjson(GROUP, &kind));
    }
    let counts = sandbox.stats();
    assert_eq!((counts.kick_offs, counts.kick_offs_by_group[GROUP]), (1, 1));
    assert_eq!(counts.files_started, counts.files_finished);
    assert_eq!(manifest["requiresAccessToken"], false);
}

#[tokio::test]
async fn answers_202_with_progress_until_the_export_is_ready() {
    let sandbox = start(SandboxConfig { export_time: Duration::from_hours(1), retry_after: Some(7), ..quick() });
    let response = get(&status_url(&sandbox).await).await;
    assert_eq!(response.status(), 202);
    assert_eq!(header(&response, "retry-after"), "7");
    assert_eq!(header(&response, "x-progress"), "0% complete");
}

#[tokio::test]
async fn honours_type_and_since_by_get_and_by_post() {
    let sandbox = start(quick());
    let location = |response: reqwest::Response| header(&response, "content-location").to_owned();
    let path = format!("Group/{GROUP}/$export?_type=Patient,Condition&_type=Encounter&_since=2025-01-01T00:00:00Z");
    let by_get = json(&location(kick_off(&sandbox, &path).send().await.unwrap())).await;
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_type", "valueString": "Patient,Condition"},
        {"name": "_type", "valueString": "Encounter"},
        {"name": "_since", "valueInstant": "2025-01-01T00:00:00Z"},
    ]});
    let by_post = http().post(format!("{}/Group/{GROUP}/$export", sandbox.base_url())).header("prefer", "respond-async").json(&parameters);
    let by_post = json(&location(by_post.send().await.unwrap())).await;
    let counts = |manifest: &Value| -> Vec<(String, u64)> {
        let files = manifest["output"].as_array().unwrap().iter();
        files.map(|file| (file["type"].as_str().unwrap().to_owned(), file["count"].as_u64().unwrap())).collect()
    };
    assert_eq!(counts(&by_get), counts(&by_post));
    let all = sandbox.expected(Some(GROUP));
    assert!(counts(&by_get).iter().all(|(kind, _)| ["Patient", "Condition", "Encounter"].contains(&kind.as_str())));
    let encounters = counts(&by_get).into_iter().find(|(kind, _)| kind == "Encounter").unwrap();
    assert!(encounters.1 < all["Encounter"]);
}

#[tokio::test]
async fn refuses_bad_kick_offs_and_says_why() {
    let sandbox = start(quick());
    let base = sandbox.base_url();
    let no_prefer = get(&format!("{base}/$export")).await;
    assert_eq!(no_prefer.status(), 400);
    for (path, status, says) in [
        ("Group/Nobody/$export", 404, "no Group Nobody"),
        ("$export?_typeFilter=Patient%3Factive%3Dtrue", 400, "_typeFilter"),
        ("$export?_since=yesterday", 400, "_since"),
        ("Patient/$export?_outputFormat=text/csv", 400, "_outputFormat"),
    ] {
        let response = kick_off(&sandbox, path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let outcome: Value = response.json().await.unwrap();
        assert!(outcome["issue"][0]["diagnostics"].as_str().unwrap().contains(says), "{outcome}");
    }
    let lenient = kick_off(&sandbox, "$export?_typeFilter=x").header("prefer", "handling=lenient");
    assert_eq!(lenient.send().await.unwrap().status(), 202);
    assert_eq!(sandbox.stats().kick_offs, 1);
}

#[tokio::test]
async fn exports_all_groups_at_system_and_patient_level() {
    let sandbox = start(quick());
    for path in ["$export", "Patient/$export"] {
        let response = kick_off(&sandbox, path).send().await.unwrap();
        let manifest = json(header(&response, "content-location")).await;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for file in manifest["output"].as_array().unwrap() {
            *counts.entry(file["type"].as_str().unwrap().to_owned()).or_default() += file["count"].as_u64().unwrap();
        }
        assert_eq!(counts, sandbox.expected(None));
    }
}

#[tokio::test]
async fn forgets_a_deleted_export_and_its_files() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    let file = crate::harness::file_url(&json(&status).await, "Patient");
    assert_eq!(http().delete(&status).send().await.unwrap().status(), 202);
    assert_eq!(get(&status).await.status(), 404);
    assert_eq!(get(&file).await.status(), 404);
    assert_eq!(http().delete(&status).send().await.unwrap().status(), 404);
    let counts = sandbox.stats();
    assert_eq!((counts.deletes, counts.exports), (1, 0));
}

#[tokio::test]
async fn lists_its_groups_and_their_members() {
    let sandbox = start(quick());
    let base = sandbox.base_url();
    let list = json(&format!("{base}/Group")).await;
    assert_eq!(list["entry"].as_array().unwrap().len(), 8);
    let group = json(&format!("{base}/Group/{GROUP}")).await;
    assert_eq!(group["member"].as_array().unwrap().len(), 3);
    let capabilities = json(&format!("{base}/metadata")).await;
    assert_eq!(capabilities["fhirVersion"], "4.0.1");
}
