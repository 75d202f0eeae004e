use std::io::Write;
use std::path::Path;

use bulkhead_sandbox::SandboxConfig;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::{body, count_lines, file_url, header, json, kick_off, quick, start};

#[tokio::test]
async fn serves_a_folder_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let odd = b"{ \"resourceType\":\"Patient\",  \"id\":\"a\" }\n{\"resourceType\":\"Patient\",\"id\":\"b\"}";
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(odd).unwrap();
    std::fs::write(dir.path().join("Patient.000.ndjson.gz"), packed.finish().unwrap()).unwrap();
    std::fs::write(dir.path().join("Condition.ndjson"), "{\"resourceType\":\"Condition\",\"id\":\"c\"}\n").unwrap();
    std::fs::write(dir.path().join("README.txt"), "not data").unwrap();
    let sandbox = start(SandboxConfig { data: vec![("Mine".to_owned(), dir.path().to_owned())], ..quick() });
    let response = kick_off(&sandbox, "Group/Mine/$export").send().await.unwrap();
    let manifest = json(header(&response, "content-location")).await;
    assert_eq!(manifest["output"].as_array().unwrap().len(), 2);
    let patients = body(&file_url(&manifest, "Patient")).await.unwrap();
    assert_eq!(patients, [&odd[..], b"\n"].concat());
    let group = json(&format!("{}/Group/Mine", sandbox.base_url())).await;
    assert_eq!(group["member"][1]["entity"]["reference"], "Patient/b");
}

/// Real Synthea output, where it lies beside the repository.
#[tokio::test]
async fn serves_real_data_where_it_exists() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data: Vec<_> = ["synthea-10", "synthea-group"]
        .map(|name| (name.to_owned(), shared.join(name)))
        .into_iter()
        .filter(|(_, dir)| dir.is_dir())
        .collect();
    if data.is_empty() {
        println!("skipped: there is no data in {}", shared.display());
        return;
    }
    let sandbox = start(SandboxConfig { data: data.clone(), ..quick() });
    for (group, _) in data {
        let response = kick_off(&sandbox, &format!("Group/{group}/$export")).send().await.unwrap();
        let manifest = json(header(&response, "content-location")).await;
        for (kind, count) in sandbox.expected(Some(&group)) {
            let lines = body(&file_url(&manifest, &kind)).await.unwrap();
            assert_eq!(lines, sandbox.ndjson(&group, &kind));
            assert_eq!(count_lines(&lines), count);
        }
    }
}

#[test]
fn says_when_a_folder_is_missing() {
    let config = SandboxConfig { data: vec![("Gone".to_owned(), "/nowhere/at/all".into())], ..quick() };
    let error = bulkhead_sandbox::Sandbox::start(config).unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/at/all"));
}
