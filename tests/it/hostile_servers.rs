//! Servers that send too much, too slowly, or never come to an end: each meets a limit that has a name.

use std::time::Duration;

use bulkhead_tests::{App, SandboxConfig, Setup};
use serde_json::Value;

use crate::setup;

const GROUP: &str = "FallonHealth";

async fn start(switches: &str, settings: &[(&'static str, &str)]) -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, switches: switches.to_owned(), ..setup().sandbox };
    let mut all = vec![("RETRY_MAX_ATTEMPTS", "2".to_owned()), ("RETRY_BASE_DELAY", "0.02".to_owned())];
    all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    App::start(Setup { sandbox, settings: all, ..setup() }).await
}

/// The export under a fault ends as failed; its status is returned.
async fn fails(app: &App, fault: &str) -> Value {
    app.sandbox.clear_faults();
    app.sandbox.fault(fault);
    app.until(app.export_of(GROUP, &["Encounter"]).await, "failed").await
}

fn says(status: &Value, words: &str) -> bool {
    status["error"].as_str().is_some_and(|error| error.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_in_any_way_meets_a_limit_by_its_name() {
    let app = start("", &[("LIMIT_FILE_BYTES", "300000000"), ("LIMIT_LINE_BYTES", "20000000"), ("LIMIT_UNPACKING", "200")]).await;
    for (fault, limit) in [
        ("file:gzip-bomb=2GB*always", "LIMIT_UNPACKING"),
        ("file:long-line=50MB*always", "LIMIT_LINE_BYTES"),
        ("file:endless*always", "LIMIT_FILE_BYTES"),
    ] {
        let status = fails(&app, fault).await;
        assert_eq!(status["failure"]["reason"], "incomplete", "{fault}: {status:#}");
        assert!(says(&status, limit), "{fault}: {}", status["error"]);
    }
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_trickles_is_given_up() {
    let app = start("", &[("HTTP_TIMEOUT_READ", "2"), ("LIMIT_SLOWEST_BODY", "5000")]).await;
    let status = fails(&app, "file:slow=500*always").await;
    assert!(says(&status, "LIMIT_SLOWEST_BODY"), "{}", status["error"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_led_on_and_on_is_given_up() {
    let app = start("", &[("LIMIT_REDIRECTS", "5")]).await;
    for (fault, reason) in
        [("kick-off:redirect*always", "limit"), ("status:redirect*always", "limit"), ("file:redirect*always", "incomplete")]
    {
        let status = fails(&app, fault).await;
        assert_eq!(status["failure"]["reason"], reason, "{fault}: {status:#}");
        assert!(says(&status, "LIMIT_REDIRECTS"), "{fault}: {}", status["error"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_never_ready_is_given_up() {
    let app = start("", &[("LIMIT_EXPORT_DAYS", "0.00003")]).await;
    let status = fails(&app, "status:pending=retry-after=1*always").await;
    assert_eq!(status["failure"]["reason"], "limit");
    assert!(says(&status, "LIMIT_EXPORT_DAYS"), "{}", status["error"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_and_bodies_without_end_fail_in_words() {
    let app = start("", &[]).await;
    for fault in ["status:huge-headers=2MB*always", "kick-off:endless-body*always", "kick-off:huge-headers=2MB*always"] {
        let status = fails(&app, fault).await;
        assert!(status["remedy"].is_string(), "{fault}: {status:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_too_many_files_meets_its_limit() {
    let sandbox = SandboxConfig { resources_per_file: 1, export_time: Duration::ZERO, ..setup().sandbox };
    let settings = vec![("LIMIT_MANIFEST_ENTRIES", "10".to_owned())];
    let app = App::start(Setup { sandbox, settings, ..setup() }).await;
    let status = app.until(app.export(GROUP).await, "failed").await;
    assert!(says(&status, "LIMIT_MANIFEST_ENTRIES"), "{}", status["error"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_loses_files_when_asked_for_many_at_once_is_asked_for_fewer() {
    for status in ["404", "429"] {
        let sandbox = SandboxConfig {
            resources_per_file: 10,
            export_time: Duration::ZERO,
            switches: format!("most-downloads=2 over-downloads={status}"),
            ..setup().sandbox
        };
        let settings = vec![("WORKER_TRANSFERS", "8".to_owned()), ("RETRY_BASE_DELAY", "0.5".to_owned())];
        let app = App::start(Setup { sandbox, settings, ..setup() }).await;
        app.sandbox.fault("file:slow=20000*always");
        let job = app.export(GROUP).await;
        app.until(job, "completed").await;
        app.assert_rows_right(job, GROUP).await;
        let told = "SELECT count(*) > 0 FROM bulkhead.export_events WHERE message LIKE 'The server asks to slow down%'";
        assert!(app.is(told).await, "{status}");
    }
}
