//! Reading a file again: parts that are gone or rotten, files that changed, uncompressed bodies that resume.

use std::path::{Path, PathBuf};

use bulkhead_tests::{App, PlainProxy};
use serde_json::json;
use uuid::Uuid;

use crate::loading::{GROUP, findings, found, serving, start, start_with};

/// Loads come an hour after their parts; `now` makes them come at once.
async fn postpone_loads(app: &App) {
    sqlx::raw_sql(
        "CREATE FUNCTION public.later() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.next_run_at := clock_timestamp() + interval '1 hour'; RETURN NEW; END $$;
         CREATE TRIGGER later BEFORE INSERT ON bulkhead.stages FOR EACH ROW WHEN (NEW.kind = 'load') EXECUTE FUNCTION public.later()",
    )
    .execute(&app.pool)
    .await
    .expect("a trigger");
}

async fn load_now(app: &App) {
    sqlx::raw_sql(
        "DROP TRIGGER later ON bulkhead.stages;
         UPDATE bulkhead.stages SET next_run_at = clock_timestamp() WHERE kind = 'load' AND state = 'ready'",
    )
    .execute(&app.pool)
    .await
    .expect("the loads");
}

fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { files.extend(blobs(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}

async fn reads_again_after(harm: impl Fn(&Path)) {
    reads_again_from(start().await, harm).await;
}

async fn reads_again_from(app: App, harm: impl Fn(&Path)) {
    postpone_loads(&app).await;
    let job = app.export_of(GROUP, &["Condition"]).await;
    app.until_sql("SELECT count(*) = 1 AND bool_and(state = 'downloaded') FROM bulkhead.export_files WHERE export_id = $1", job).await;
    let stored = blobs(&app.blobs());
    assert_eq!(stored.len(), 1, "one part of one file");
    harm(&stored[0]);
    load_now(&app).await;
    let status = app.until(job, "completed").await;
    let told =
        status["events"].as_array().expect("a story").iter().any(|e| e["message"].as_str().is_some_and(|m| m.contains("read again")));
    assert!(told, "{status:#}");
    app.assert_rows_of(job, GROUP, &["Condition"]).await;
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().files_started, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_vanished_from_the_disk_is_read_again() {
    reads_again_after(|blob| std::fs::remove_file(blob).expect("the blob")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_rotted_on_the_disk_is_read_again() {
    reads_again_after(rot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_part_that_rotted_or_ends_early_is_read_again() {
    let packed = || start_with(vec![("BULK_DATA_COMPRESSION", "zstd".to_owned())]);
    reads_again_from(packed().await, rot).await;
    let cut_short = |blob: &Path| {
        let bytes = std::fs::read(blob).expect("the blob");
        std::fs::write(blob, &bytes[..bytes.len() / 2]).expect("the blob");
    };
    reads_again_from(packed().await, cut_short).await;
}

fn rot(blob: &Path) {
    let mut bytes = std::fs::read(blob).expect("the blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(blob, bytes).expect("the blob");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_file_of_newer_duplicates_again_keeps_rows_and_counts_right() {
    let patient = |n: usize, day: usize| {
        format!(r#"{{"resourceType":"Patient","id":"p{n}","meta":{{"lastUpdated":"2024-01-0{day}T00:00:00Z"}},"language":"x-{day}"}}"#)
    };
    // Ten patients in the first file, the same ones a day newer in the second.
    let lines: Vec<String> = (0..10).map(|n| patient(n, 1)).chain((0..10).map(|n| patient(n, 2))).collect();
    let (app, _folder) = serving(&lines, 10).await;
    app.sandbox.fault("file:malformed-line@Patient.001");
    let job = app.export("mine").await;
    app.until(job, "failed").await;
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
    let status = app.until(job, "completed").await;
    app.assert_rows_are(job, "Patient", lines[10..].join("\n").as_bytes()).await;
    assert_eq!(status["records_loaded"], 10, "{:#}", status["files"]);
    app.assert_nothing_left().await;
}

/// Through a server that does not compress, names its files by strong ETags and serves ranges.
async fn through_plain_server(app: &App, group: &str, kinds: &[&str]) -> (Uuid, PlainProxy) {
    let proxy = PlainProxy::before(&app.sandbox.base_url()).await;
    let body = json!({ "fhir_server_url": format!("{}/Group/{group}", proxy.base_url), "resource_types": kinds });
    (app.submit(&body).await, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncompressed_file_whose_count_is_wrong_is_read_again_from_its_start() {
    let app = start().await;
    app.sandbox.fault("status:wrong-count*always");
    let (job, _proxy) = through_plain_server(&app, GROUP, &["Condition"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), found("count_mismatch", "error"), "{status:#}");
    app.assert_rows_of(job, GROUP, &["Condition"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncompressed_body_that_ends_too_early_is_read_again_until_it_is_whole() {
    let app = start().await;
    app.sandbox.fault("file:truncate=2000@Condition");
    let (job, _proxy) = through_plain_server(&app, GROUP, &["Condition"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]), "{status:#}");
    app.assert_rows_of(job, GROUP, &["Condition"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncompressed_body_that_was_cut_goes_on_where_its_last_part_ends() {
    // A part is 8 MiB: this file is two, and is cut in the second.
    let text = "x".repeat(10_000);
    let patient = |n: usize| format!(r#"{{"resourceType":"Patient","id":"p{n}","extension":[{{"url":"u","valueString":"{text}"}}]}}"#);
    let lines: Vec<String> = (0..1000).map(patient).collect();
    let (app, _folder) = serving(&lines, 5000).await;
    app.sandbox.fault("file:drop=9000000");
    let (job, _proxy) = through_plain_server(&app, "mine", &["Patient"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]), "{status:#}");
    app.assert_rows_of(job, "mine", &["Patient"]).await;
    app.assert_nothing_left().await;
    let ranged: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT split_part(blob_key, '/', 3)) FROM bulkhead.file_parts WHERE export_id = $1")
            .bind(job)
            .fetch_one(&app.pool)
            .await
            .expect("the parts");
    assert_eq!(ranged, 2, "the first part is of the first attempt, the second of the next");
}
