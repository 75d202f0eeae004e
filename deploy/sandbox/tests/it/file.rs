use std::io::Read;

use flate2::read::GzDecoder;

use crate::harness::{GROUP, body, file_url, get, header, http, manifest, quick, start};

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
