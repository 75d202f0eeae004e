//! Manifests as real servers write them.

use std::time::Duration;

use bulkhead_tests::{App, SandboxConfig, Setup};
use serde_json::{Value, json};

use crate::{loading::findings, setup};

const GROUP: &str = "FallonHealth";
const TYPES: &[&str] = &["Patient", "Condition"];

async fn start(switches: &str, settings: &[(&'static str, &str)]) -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, switches: switches.to_owned(), auth: true, ..setup().sandbox };
    let mut all = vec![("RETRY_MAX_ATTEMPTS", "3".to_owned()), ("RETRY_BASE_DELAY", "0.02".to_owned())];
    all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    App::start(Setup { sandbox, settings: all, ..setup() }).await
}

/// An export under a fault ends with the right rows; its status is returned.
async fn completes(app: &App, fault: &str) -> Value {
    app.sandbox.clear_faults();
    app.sandbox.fault(fault);
    let job = app.export_of(GROUP, TYPES).await;
    let status = app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, TYPES).await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manifest_lacks_or_says_oddly_is_tolerated() {
    let app = start("", &[]).await;
    for fault in [
        "status:without=error",
        "status:without=requiresAccessToken",
        "status:without=type",
        "status:without=transactionTime",
        "status:without=count",
        "status:transaction-time=yesterday",
        "status:request=http://fhir-internal.local/Group/1/$export",
        "status:relative-urls",
        "status:header=Content-Type: text/plain",
        "status:next-pages=3",
        "status:pending=retry-after=0",
        "status:pending=retry-after=-1",
        "status:pending=retry-after=soon",
        "status:pending=retry-after-date=-100",
        "status:pending=retry-after-epoch=1",
        "status:pending=retry-after-epoch-ms=1",
        "file:header=Content-Type: binary/octet-stream",
        "file:without-header=Content-Type",
        "file:without-header=ETag",
    ] {
        let times = if fault.contains("pending") { "*2" } else { "*always" };
        let status = completes(&app, &format!("{fault}{times}")).await;
        assert_eq!(status["findings"], json!([]), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_its_own_header_means_pending() {
    let sandbox = SandboxConfig { switches: "separate-export-status".to_owned(), ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let job = app.export_of(GROUP, TYPES).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, TYPES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_could_not_export_is_told_by_severity_in_either_array() {
    let app = start("", &[]).await;
    for (fault, end, severity) in [
        ("status:error-outcome=information", "completed", "warning"),
        ("status:error-outcome=warning", "completed", "warning"),
        ("status:error-outcome=error", "failed", "error"),
        ("status:error-outcome=fatal", "failed", "error"),
    ] {
        app.sandbox.clear_faults();
        app.sandbox.fault(&*format!("{fault}*always"));
        app.sandbox.fault("status:outcome-key");
        let status = app.until(app.export_of(GROUP, TYPES).await, end).await;
        assert_eq!(findings(&status), [("server_outcome".to_owned(), severity.to_owned())], "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_kept_and_counted() {
    let app = start("", &[]).await;
    let status = completes(&app, "status:deleted=7*always").await;
    assert_eq!(findings(&status), [("deletions_not_applied".to_owned(), "warning".to_owned())]);
    assert!(status["findings"][0]["message"].as_str().is_some_and(|message| message.contains("7 deletions")), "{status:#}");
    assert!(app.is("SELECT count(*) = 7 AND count(resource_id) = 7 AND count(resource_type) = 7 FROM bulkhead.deletions").await);
    app.sql("SELECT bulkhead.delete_export(id) FROM bulkhead.exports").await;
    app.until_gone().await;
    assert!(app.is("SELECT count(*) = 0 FROM bulkhead.deletions").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_partial_manifest_are_loaded_while_the_export_goes_on() {
    let sandbox =
        SandboxConfig { export_time: Duration::from_secs(6), switches: "support=allowPartialManifests".to_owned(), ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let mut body = app.body(GROUP);
    body["allowPartialManifests"] = json!("true");
    let job = app.submit(&body).await;
    app.until_sql(
        "SELECT NOT e.manifest_complete AND EXISTS (SELECT FROM bulkhead.file_parts p WHERE p.export_id = e.id AND p.state = 'loaded')
           FROM bulkhead.exports e WHERE id = $1",
        job,
    )
    .await;
    app.until(job, "completed").await;
    app.assert_rows_right(job, GROUP).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_manifest_with_fresh_signatures_lists_the_same_files() {
    let sandbox = SandboxConfig {
        export_time: Duration::from_secs(5),
        switches: "support=allowPartialManifests files=signed".to_owned(),
        ..setup().sandbox
    };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let mut body = app.body(GROUP);
    body["allowPartialManifests"] = json!("true");
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]));
    assert_eq!(status["files"].as_array().map(Vec::len), Some(app.sandbox.expected(Some(GROUP)).len()), "{status:#}");
    app.assert_rows_right(job, GROUP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_links_on_another_host_get_no_token_and_are_renewed_when_they_are_too_old() {
    for status in ["403", "404", "410"] {
        let app = start(&format!("files=signed link-lifetime=1s link-status={status}"), &[("WORKER_TRANSFERS", "1")]).await;
        // The first file holds the others up until their links are too old.
        app.sandbox.fault("file:delay=2s");
        let job = app.export(GROUP).await;
        app.until(job, "completed").await;
        app.assert_rows_right(job, GROUP).await;
        app.assert_nothing_left().await;
    }
    let app = start("files=redirect", &[]).await;
    let job = app.export_of(GROUP, TYPES).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, TYPES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_pages_do_not_end_is_given_up() {
    let app = start("", &[("LIMIT_MANIFEST_PAGES", "20")]).await;
    for (fault, reason, words) in [
        ("status:endless-next*always", "limit", "LIMIT_MANIFEST_PAGES"),
        ("status:next-circle=3*always", "server_error", "circle"),
        ("status:next-circle=1*always", "server_error", "circle"),
    ] {
        app.sandbox.clear_faults();
        app.sandbox.fault(fault);
        let status = app.until(app.export_of(GROUP, TYPES).await, "failed").await;
        assert_eq!(status["failure"]["reason"], reason, "{fault}: {status:#}");
        assert!(status["error"].as_str().is_some_and(|error| error.contains(words)), "{fault}: {}", status["error"]);
    }
}
