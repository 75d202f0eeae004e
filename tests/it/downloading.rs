//! How files come in: over HTTP/2, packed in whatever way, and loaded before they are whole.

use std::time::Duration;

use axum::http::Version;
use bulkhead_tests::{App, PlainProxy, SandboxConfig, Setup, TlsProxy, rows};
use serde_json::json;

use crate::{
    loading::{GROUP, serving, start},
    setup,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_offers_http_2_is_spoken_to_in_it_over_one_connection() {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, resources_per_file: 5, ..setup().sandbox };
    let mut app = App::start(Setup { sandbox, workers: 0, ..setup() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = TlsProxy::before(&app.sandbox.base_url(), folder.path()).await;
    app.add_worker_with(&[("SSL_CERT_FILE", proxy.certificate.to_str().expect("UTF-8")), ("WORKER_TRANSFERS", "16")]);
    // Slow enough for the downloads to be under way together.
    app.sandbox.fault("file:slow=2000*always");
    let job = app.submit(&json!({ "fhir_server_url": format!("{}/Group/{GROUP}", proxy.base_url) })).await;
    app.until(job, "completed").await;
    app.assert_rows_right(job, GROUP).await;
    app.assert_nothing_left().await;

    let seen = proxy.seen();
    assert!(seen.files.len() > 20, "too few files to show anything: {}", seen.files.len());
    assert!(app.sandbox.stats().most_files_at_once > 3, "{:?}", app.sandbox.stats());
    for file in &seen.files {
        assert_eq!(file.version, Version::HTTP_2);
        // Nothing that is not needed, and no token: the server wants none.
        assert_eq!(file.headers, ["accept", "accept-encoding", "user-agent"]);
    }
    // One, unless it was idle for so long that another was opened.
    assert!(seen.connections <= 2, "{} connections", seen.connections);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_nobody_vouches_for_is_not_spoken_to() {
    let mut app = App::start(Setup { workers: 0, ..setup() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = TlsProxy::before(&app.sandbox.base_url(), folder.path()).await;
    app.add_worker_with(&[("RETRY_MAX_ATTEMPTS", "1")]);
    let job = app.submit(&json!({ "fhir_server_url": format!("{}/Group/{GROUP}", proxy.base_url) })).await;
    let status = app.until(job, "failed").await;
    assert!(status["error"].as_str().is_some_and(|error| error.contains("certificate")), "{status:#}");
    assert_eq!((proxy.seen().connections, app.sandbox.stats().kick_off_requests), (0, 0));
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_of_several_members_is_read_to_the_end_of_the_last() {
    let app = start().await;
    let proxy = PlainProxy::packing_in_members(&app.sandbox.base_url()).await;
    let kinds = ["Condition", "Observation"];
    let body = json!({ "fhir_server_url": format!("{}/Group/{GROUP}", proxy.base_url), "resource_types": kinds });
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &kinds).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_loads_while_it_is_still_being_downloaded() {
    // A part is 8 MiB: this file is three, and its server stops in the middle of the second.
    let patient = |n: usize| {
        let word = |m: usize| format!("{:020x}", (n * 1000 + m).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let text = (0..500).map(word).collect::<Vec<_>>().concat();
        format!(r#"{{"resourceType":"Patient","id":"p{n}","extension":[{{"url":"u","valueString":"{text}"}}]}}"#)
    };
    let lines: Vec<String> = (0..2400).map(patient).collect();
    let (app, _folder) = serving(&lines, 5000).await;
    app.sandbox.fault("file:hold=half");
    let job = app.export("mine").await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.until_sql("SELECT bool_or(state = 'loaded') FROM bulkhead.file_parts WHERE export_id = $1", job).await;
    let loaded: i64 = rows::counts(&app.pool, job).await.iter().map(|(_, rows)| rows).sum();
    assert!((500..1200).contains(&loaded), "{loaded} rows of the first part");
    assert_eq!(app.sandbox.stats().held, 1, "the download is not over yet");
    app.sandbox.release();
    app.until(job, "completed").await;
    app.assert_rows_of(job, "mine", &["Patient"]).await;
    assert_eq!(app.sandbox.stats().files_started, 1, "it was not read again");
    app.assert_nothing_left().await;
}
