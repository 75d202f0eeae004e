use std::io::Read;

use flate2::read::GzDecoder;

use bulkhead_sandbox::SandboxConfig;

use crate::harness::{GROUP, body, count_lines, file_url, get, header, http, json, kick_off, manifest, quick, start};

#[tokio::test]
async fn packs_a_file_when_asked_to() {
    let sandbox = start(quick());
    let url = file_url(&manifest(&sandbox).await, "Observation");
    let response = http().get(&url).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(header(&response, "content-encoding"), "gzip");
    assert_eq!(header(&response, "content-type"), "application/fhir+ndjson");
    let mut plain = Vec::new();
    GzDecoder::new(&response.bytes().await.unwrap()[..]).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, sandbox.ndjson(GROUP, "Observation"));
}

#[tokio::test]
async fn gives_a_range_of_the_same_file_and_the_whole_of_a_changed_one() {
    let sandbox = start(quick());
    let url = file_url(&manifest(&sandbox).await, "Encounter");
    let whole = sandbox.ndjson(GROUP, "Encounter");
    let tag = header(&get(&url).await, "etag").to_owned();
    let range = |tag: &str| http().get(&url).header("range", "bytes=100-").header("if-range", tag).send();

    let same = range(&tag).await.unwrap();
    assert_eq!(same.status(), 206);
    assert_eq!(header(&same, "content-range"), format!("bytes 100-{}/{}", whole.len() - 1, whole.len()));
    assert_eq!(same.bytes().await.unwrap(), whole[100..]);

    let changed = range("\"another\"").await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_eq!(changed.bytes().await.unwrap(), whole);
}

#[tokio::test]
async fn resumes_a_cut_file_where_it_broke() {
    let sandbox = start(quick());
    let url = file_url(&manifest(&sandbox).await, "Encounter");
    sandbox.fault("file:drop=1000");
    let mut response = get(&url).await;
    let tag = header(&response, "etag").to_owned();
    let mut got = Vec::new();
    let broken = loop {
        match response.chunk().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken);
    assert_eq!(got.len(), 1000);
    let rest = http().get(&url).header("range", "bytes=1000-").header("if-range", tag).send().await.unwrap();
    got.extend_from_slice(&rest.bytes().await.unwrap());
    assert_eq!(got, sandbox.ndjson(GROUP, "Encounter"));
    let stats = sandbox.stats();
    assert_eq!((stats.files_started, stats.files_finished), (2, 1));
}

#[tokio::test]
async fn the_same_seed_serves_the_same_bytes() {
    let (one, other) = (start(quick()), start(quick()));
    for kind in bulkhead_sandbox::TYPES {
        assert_eq!(one.ndjson("TuftsHealthPlan", kind), other.ndjson("TuftsHealthPlan", kind));
    }
    let url = file_url(&manifest(&one).await, "Patient");
    assert_eq!(body(&url).await.unwrap(), other.ndjson(GROUP, "Patient"));
}

#[tokio::test]
async fn makes_files_of_the_announced_size_while_it_serves_them() {
    let generated = ["big=Observation:3MB", "big=Observation:1MB:plain", "big=ExplanationOfBenefit:5MB"];
    let generated = generated.map(|file| file.parse().unwrap()).to_vec();
    let sandbox = start(SandboxConfig { generated, ..quick() });
    let response = kick_off(&sandbox, "Group/big/$export").send().await.unwrap();
    let manifest = json(header(&response, "content-location")).await;
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    let mut packed_sizes = Vec::new();
    for file in manifest["output"].as_array().unwrap() {
        let (url, count) = (file["url"].as_str().unwrap(), file["count"].as_u64().unwrap());
        let plain = body(url).await.unwrap();
        assert_eq!(count_lines(&plain), count);
        *counts.entry(file["type"].as_str().unwrap().to_owned()).or_default() += count;
        let answer = http().get(url).header("accept-encoding", "gzip").send().await.unwrap();
        let packed = header(&answer, "content-encoding") == "gzip";
        let mut same = answer.bytes().await.unwrap().to_vec();
        if packed {
            packed_sizes.push(same.len());
            let mut unpacked = Vec::new();
            GzDecoder::new(&same[..]).read_to_end(&mut unpacked).unwrap();
            same = unpacked;
        }
        assert_eq!(same, plain);
    }
    assert_eq!(packed_sizes.len(), 2, "all but the plain one");
    assert_eq!(sandbox.expected(Some("big")), counts);
    let stats = sandbox.stats();
    assert_eq!((stats.files_started, stats.files_finished, stats.files_now), (6, 6, 0));
}
