//! Every line that JSON parsers accept and Postgres refuses, or that is no resource at all: kept, and the rest of its file loaded.

use std::{fmt::Write as _, time::Duration};

use bulkhead_tests::{App, SandboxConfig, Setup, rows};
use serde_json::Value;

use crate::{
    loading::{findings, found},
    setup,
};

/// A server that serves these bytes as files of Patients of the Group `mine`, as many lines a file.
async fn serving(lines: &[Vec<u8>], per_file: usize, settings: &[(&'static str, &str)]) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Patient.ndjson"), lines.join(&b'\n')).expect("a file");
    let data = vec![("mine".to_owned(), folder.path().to_owned())];
    let sandbox = SandboxConfig { data, resources_per_file: per_file, export_time: Duration::ZERO, ..setup().sandbox };
    let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    (App::start(Setup { sandbox, settings, ..setup() }).await, folder)
}

fn patient(id: &str, more: &str) -> Vec<u8> {
    format!(r#"{{"resourceType":"Patient","id":"{id}"{more}}}"#).into_bytes()
}

fn version(id: &str, day: usize, text: &str) -> Vec<u8> {
    patient(id, &format!(r#","meta":{{"lastUpdated":"2024-01-{day:02}T00:00:00Z"}},"language":"{text}""#))
}

/// Each with a word of the reason.
fn refused() -> Vec<(Vec<u8>, &'static str)> {
    let text = |escape: &str| patient("x", &format!(r#","language":"{escape}""#));
    let mut long = String::from(",\"language\":\"");
    write!(long, "{}\"", "x".repeat(17 << 20)).expect("a string");
    vec![
        (text(r"a\u0000b"), "NUL"),
        (text(r"\ud83d"), "surrogate"),
        (text(r"\ude00\ud83d"), "surrogate"),
        ([b"{\"resourceType\":\"Patient\",\"id\":\"x\",\"language\":\"".as_slice(), b"\xC3\x28", b"\"}"].concat(), "UTF-8"),
        (patient("x", r#","multipleBirthInteger":1e200000"#), "22003"),
        (patient("x", &format!(r#","extension":{}{}"#, "[".repeat(20_000), "]".repeat(20_000))), "54001"),
        (patient("x", &long), "longer than"),
        (br#"{"resourceType":"Observation","id":"x"}"#.to_vec(), "another resource type"),
        (br#"{"resourceType":"Patient"}"#.to_vec(), "id"),
        (br#"{"resourceType":"Patient","id":"x""#.to_vec(), "not JSON"),
        (b"<html>Bad Gateway</html>".to_vec(), "not JSON"),
        (b"[]".to_vec(), "not a FHIR resource"),
    ]
}

fn assert_books_balance(status: &Value) {
    for file in status["files"].as_array().expect("files") {
        let n = |name: &str| file[name].as_i64().expect("a number");
        assert_eq!(n("lines"), n("rows") + n("duplicates") + n("rejects"), "{file}");
    }
}

async fn keeps_what_cannot_be_a_row(settings: &[(&'static str, &str)], suffix: &str) {
    let refused = refused();
    // A good line around each bad one; some end with CR LF, as some servers' do.
    let mut lines: Vec<Vec<u8>> = vec![patient("first", "")];
    let mut good: Vec<Vec<u8>> = lines.clone();
    for (n, (bad, _)) in refused.iter().enumerate() {
        let line = patient(&format!("good-{n}"), r#","language":"\u00e9 \ud83d\ude00 \\u0000","multipleBirthInteger":1e400"#);
        lines.push(bad.clone());
        lines.push(if n % 2 == 0 { [line.as_slice(), b"\r"].concat() } else { line.clone() });
        good.push(line);
    }
    let (app, _folder) = serving(&lines, lines.len(), settings).await;
    let job = app.export("mine").await;
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), found("rejected_lines", "error"));
    assert_books_balance(&status);
    app.assert_rows_are(job, "Patient", &good.join(&b'\n')).await;
    let rejected = rows::rejected(&app.pool, job).await;
    assert_eq!(rejected.len(), refused.len());
    for (n, (kept, (bad, reason))) in rejected.iter().zip(&refused).enumerate() {
        assert_eq!(kept.line, i64::try_from(2 * n + 2).expect("a line"), "{}", kept.reason);
        assert!(kept.bytes == *bad, "line {} is not kept byte for byte", kept.line);
        assert!(kept.reason.contains(reason), "{:?} should say {reason:?}", kept.reason);
    }
    let keys: Vec<String> = sqlx::query_scalar("SELECT blob_key FROM bulkhead.file_parts").fetch_all(&app.pool).await.expect("parts");
    assert!(keys.iter().all(|key| key.ends_with(suffix) && app.blobs().join(key).exists()), "{keys:?}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_or_fhir_refuses_is_kept_line_by_line_and_the_rest_is_loaded() {
    keeps_what_cannot_be_a_row(&[], ".ndjson").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_where_parts_are_kept_compressed() {
    keeps_what_cannot_be_a_row(&[("BULK_DATA_COMPRESSION", "zstd")], ".ndjson.zst").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_only_bad_lines_is_kept_whole() {
    let line = |n: usize| format!(r#"{{"resourceType":"Basic","id":"b{n}","code":{{"text":"{}"}}}}"#, "x".repeat(1000)).into_bytes();
    let lines: Vec<Vec<u8>> = (0..3000).map(line).collect();
    let (app, _folder) = serving(&lines, lines.len(), &[]).await;
    let job = app.export("mine").await;
    let status = app.until(job, "failed").await;
    assert_books_balance(&status);
    assert_eq!((&status["files"][0]["rejects"], &status["records_loaded"]), (&3000.into(), &0.into()), "{status:#}");
    let rejected = rows::rejected(&app.pool, job).await;
    assert!(rejected.iter().zip(&lines).all(|(kept, line)| kept.bytes == *line) && rejected.len() == lines.len());
    assert_eq!(rows::counts(&app.pool, job).await, []);
    app.assert_nothing_left().await;
}

/// Both files have both resources, the newer one of each in the other file; one of them thrice in one file.
#[tokio::test(flavor = "multi_thread")]
async fn of_duplicates_that_cross_between_files_and_within_one_the_newest_is_kept() {
    let lines = [
        version("a", 1, "old"),
        version("b", 5, "newest"),
        version("c", 1, "old"),
        version("c", 3, "newest"),
        version("c", 2, "older"),
        version("d", 1, "same"),
        // The second file.
        version("a", 4, "newest"),
        version("b", 2, "old"),
        version("e", 1, "alone"),
        version("f", 1, "alone"),
        version("d", 1, "same"),
        version("g", 1, "alone"),
    ];
    let (app, _folder) = serving(&lines, 6, &[]).await;
    let job = app.export("mine").await;
    let status = app.until(job, "completed").await;
    assert_books_balance(&status);
    let kept = [1, 3, 6, 8, 9, 10, 11].map(|n: usize| lines[n].clone());
    app.assert_rows_are(job, "Patient", &kept.join(&b'\n')).await;
    assert_eq!(status["records_loaded"], 7, "{status:#}");
    let duplicates: i64 =
        status["files"].as_array().expect("files").iter().map(|file| file["duplicates"].as_i64().expect("a number")).sum();
    assert_eq!(duplicates, 5);
    app.assert_nothing_left().await;
}
