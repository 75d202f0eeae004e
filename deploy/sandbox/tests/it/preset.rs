use std::time::Duration;

use bulkhead_sandbox::{Preset, SandboxConfig};
use serde_json::Value;

use crate::harness::{GROUP, body, file_url, get, header, http, json, kick_off, manifest, start, status_url};

/// A thousandth of the times, three patients a Group.
fn play(preset: Preset) -> SandboxConfig {
    SandboxConfig { preset: Some(preset), pace: 0.001, scale: 0.1, ..SandboxConfig::default() }
}

/// The same, with exports that are ready at once.
fn at_once(preset: Preset) -> SandboxConfig {
    SandboxConfig { export_time: Duration::ZERO, ..play(preset) }
}

#[tokio::test]
async fn epic_exports_a_group_once_and_gives_long_ids_without_times() {
    let sandbox = start(at_once(Preset::Epic));
    let file = file_url(&manifest(&sandbox).await, "Condition");
    let line = body(&file).await.unwrap();
    let condition: Value = serde_json::from_slice(line.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert!(condition["id"].as_str().unwrap().len() > 64 && condition["meta"].get("lastUpdated").is_none());
    let again = kick_off(&sandbox, &format!("Group/{GROUP}/$export")).send().await.unwrap();
    assert_eq!(again.status(), 400);
    assert!(again.text().await.unwrap().contains("requested this Group too recently"));
    let bare = http().post(sandbox.token_url()).send().await.unwrap();
    assert_eq!((bare.status().as_u16(), bare.text().await.unwrap().as_str()), (400, ""));
}

#[tokio::test]
async fn cerner_gives_many_small_files_through_redirects_and_errors() {
    let sandbox = start(at_once(Preset::Cerner));
    let repeated = kick_off(&sandbox, "Patient/$export?_type=Patient&_type=Condition").send().await.unwrap();
    assert_eq!(repeated.status(), 400);
    let elements = kick_off(&sandbox, "Patient/$export?_elements=id").send().await.unwrap();
    assert!(elements.text().await.unwrap().contains("Unsupported query parameter: _elements"));
    let status = status_url(&sandbox).await;
    let manifest = json(&status).await;
    assert!(manifest["output"].as_array().unwrap().iter().all(|file| file["count"].as_u64().unwrap() <= 25));
    let url = file_url(&manifest, "Condition");
    for code in [502, 502, 502, 429, 429, 200] {
        assert_eq!(get(&url).await.status(), code);
    }
    assert_eq!(http().delete(&status).send().await.unwrap().status(), 204);
    let slow = start(SandboxConfig { export_time: Duration::from_hours(1), ..play(Preset::Cerner) });
    assert_eq!(header(&get(&status_url(&slow).await).await, "retry-after"), "7", "two hours at this pace");
}

#[tokio::test]
async fn the_others_do_what_is_told_of_them() {
    let bcda = start(at_once(Preset::Bcda));
    let files = manifest(&bcda).await;
    assert!(files["output"].as_array().unwrap().iter().all(|file| file["count"].as_u64().unwrap() <= 50));
    for code in [404, 404, 200] {
        assert_eq!(get(&file_url(&files, "Patient")).await.status(), code);
    }

    let hapi = start(at_once(Preset::Hapi));
    let status = kick_off(&hapi, "Patient/$export?_type=Basic").send().await.unwrap();
    let empty = json(header(&status, "content-location")).await;
    assert!(empty.get("output").is_none() && empty.get("error").is_none());
    let files = manifest(&hapi).await;
    let url = file_url(&files, "Patient");
    assert!(!url.contains("Patient"), "the name of a file says nothing");
    assert_eq!(String::from_utf8(body(&url).await.unwrap()).unwrap().lines().count(), 6, "each of three twice");

    let azure = start(play(Preset::Azure));
    assert_eq!(get(&status_url(&azure).await).await.status(), 202);

    let linux = start(at_once(Preset::LinuxForHealth));
    assert!(!file_url(&manifest(&linux).await, "Patient").starts_with("http"));

    let aws = start(at_once(Preset::Aws));
    assert_eq!(header(&get(&file_url(&manifest(&aws).await, "Patient")).await, "content-type"), "binary/octet-stream");

    let dpc = start(SandboxConfig { pace: 0.0, ..at_once(Preset::Dpc) });
    assert_eq!(get(&status_url(&dpc).await).await.status(), 410);
}
