//! Searches of servers that misbehave: links that lead nowhere, pages that are forgotten, totals that are wrong, refusals.

use bulkhead_tests::App;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    loading::found,
    search::{GROUP, findings, start, told},
};

/// A few pages of one type, with a fault.
async fn with(fault: &str) -> (App, Uuid) {
    let app = start("", &[("SEARCH_PAGE", "5"), ("SEARCH_MAX_PAGES", "40")]).await;
    app.sandbox.fault(&*format!("{fault}@Observation"));
    let job = app.export_of(GROUP, &["Observation"]).await;
    (app, job)
}

fn words(status: &Value) -> String {
    status["findings"].to_string()
}

async fn incomplete(fault: &str, kind: &str, text: &str) -> (App, Uuid) {
    let (app, job) = with(fault).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete", "{fault}: {status:#}");
    assert_eq!(findings(&status), found(kind, "error"), "{fault}: {status:#}");
    assert!(words(&status).contains(text), "{fault}: {status:#}");
    app.assert_nothing_left().await;
    (app, job)
}

/// The fault is over, an operator retries, and everything is there.
async fn retried((app, job): (App, Uuid)) -> App {
    app.sandbox.clear_faults();
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), [], "{status:#}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
    app
}

async fn complete(fault: &str, expected: &[(String, String)]) -> App {
    let (app, job) = with(fault).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), expected, "{fault}: {status:#}");
    for kind in ["Observation"] {
        app.assert_rows_are(job, kind, &app.sandbox.ndjson(GROUP, kind)).await;
    }
    app.assert_nothing_left().await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_a_circle_end_and_a_retry_reads_them_all() {
    retried(incomplete("search:circle=3*always", "file_failed", "leads to one that was read before").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_pages_meet_a_limit_that_is_named() {
    let (app, job) = incomplete("search:endless-pages*always", "file_failed", "SEARCH_MAX_PAGES").await;
    let asked = app.sandbox.stats().searches;
    assert!(asked <= 41, "{asked}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_another_server_is_not_followed() {
    retried(incomplete("search:foreign-next*always", "file_failed", "another server (198.51.100.7)").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relative_links_are_followed() {
    complete("search:relative-next*always", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_its_link_is_noticed_by_the_total_and_the_search_is_made_again() {
    let app = complete("search:missing-next", &[]).await;
    assert!(app.sandbox.stats().faults == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_stays_wrong_is_a_gap() {
    let (app, job) = incomplete("search:wrong-total*always", "count_mismatch", "announced").await;
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    retried((app, job)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_among_the_entries_are_reported_by_severity() {
    complete("search:outcome-entry=warning", &found("server_outcome", "warning")).await;
    let (app, job) = incomplete("search:outcome-entry=error", "server_outcome", "Some resources could not be searched").await;
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_that_the_server_includes_are_kept() {
    let app = complete("search:included-entry", &[]).await;
    assert!(app.is("SELECT count(*) = 1 FROM fhir.organizations WHERE id = 'extra'").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_of_another_type_is_kept_as_a_rejected_line() {
    let (app, job) = with("search:wrong-entry*always").await;
    let status = app.until(job, "failed").await;
    assert!(findings(&status).contains(&("rejected_lines".to_owned(), "error".to_owned())), "{status:#}");
    retried((app, job)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_pass_cost_nothing_but_time() {
    for fault in [
        "search:status=429;retry-after=1*2",
        "search:status=503;retry-after=1*2",
        "search:status=500*3",
        "search:html=502*2",
        "search:drop*2",
    ] {
        complete(fault, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_fails_fails_alone_and_a_retry_goes_on_with_it() {
    let app = start("", &[("RETRY_MAX_ATTEMPTS", "3")]).await;
    app.sandbox.fault("search:status=500*always@Observation");
    let job = app.export_of(GROUP, &["Observation", "Patient"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), found("file_failed", "error"), "{status:#}");
    app.assert_rows_are(job, "Patient", &app.sandbox.ndjson(GROUP, "Patient")).await;
    app.sandbox.clear_faults();
    let before = app.sandbox.stats().searches;
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Observation", "Patient"]).await;
    assert_eq!(app.sandbox.stats().searches - before, 1, "only what is missing is searched again");
    app.assert_nothing_left().await;
}

/// Strikes the second page, so many times: a delay that nobody notices strikes the first one.
async fn on_the_second_page(fault: &str, times: usize) -> (App, Uuid) {
    let app = start("", &[("SEARCH_PAGE", "5")]).await;
    for _ in 0..times {
        app.sandbox.fault("search:delay=1ms@Observation");
        app.sandbox.fault(fault);
    }
    let job = app.export_of(GROUP, &["Observation"]).await;
    (app, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_whose_pages_the_server_forgot_begins_again_once() {
    for status in [400, 404, 410] {
        let (app, job) = on_the_second_page(&format!("search:status={status}@Observation"), 1).await;
        let status = app.until(job, "completed").await;
        assert!(told(&status, "begins with its first page again"), "{status:#}");
        assert_eq!(findings(&status), [], "{status:#}");
        app.assert_rows_of(job, GROUP, &["Observation"]).await;
        app.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_its_pages_again_is_asked_for_fewer_patients() {
    let (app, job) = on_the_second_page("search:status=410@Observation", 2).await;
    let status = app.until(job, "completed").await;
    assert!(told(&status, "The server forgets its pages"), "{status:#}");
    assert_eq!(findings(&status), [], "{status:#}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_its_pages_again_and_again_is_a_gap() {
    let app = start("", &[("SEARCH_PAGE", "5"), ("SEARCH_PATIENTS", "1")]).await;
    let patient = app.sandbox.ndjson(GROUP, "Patient");
    let patient: Value = serde_json::from_slice(patient.split(|byte| *byte == b'\n').next().expect("a line")).expect("a patient");
    for _ in 0..2 {
        app.sandbox.fault("search:delay=1ms@Observation");
        app.sandbox.fault("search:status=410@Observation");
    }
    let mut body = app.body_of(GROUP, &["Observation"]);
    body["patient"] = serde_json::json!(format!("Patient/{}", patient["id"].as_str().expect("an id")));
    let job = app.submit(&body).await;
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), found("file_failed", "error"), "{status:#}");
    assert!(words(&status).contains("forgotten page"), "{status:#}");
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
    app.until(job, "completed").await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_export_nor_search_fails_with_a_remedy() {
    let app = start("no-search", &[]).await;
    let job = app.export(GROUP).await;
    let status = app.until(job, "failed").await;
    assert_eq!((&status["failure"]["reason"], &status["failure"]["stage"]), (&"not_found".into(), &"members".into()), "{status:#}");
    let error = status["error"].as_str().expect("an error");
    assert!(error.contains("no $export for Group") && error.contains("FHIR search cannot take its place"), "{error}");
    assert!(status["remedy"].as_str().is_some_and(|remedy| remedy.contains("Bulk Data export")), "{status:#}");
    let nobody = app.export("nobody").await;
    let status = app.until(nobody, "failed").await;
    assert_eq!((&status["failure"]["reason"], &status["failure"]["stage"]), (&"not_found".into(), &"kick_off".into()), "{status:#}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_too_large_for_us_fails_and_names_the_setting() {
    for (setting, value) in [("SEARCH_MAX_MEMBERS", "3"), ("SEARCH_MAX_GROUPS", "2")] {
        let app = start("odd-groups", &[(setting, value)]).await;
        let job = app.export("nested").await;
        let status = app.until(job, "failed").await;
        assert!(status["error"].as_str().is_some_and(|error| error.contains(setting)), "{status:#}");
        assert!(status["remedy"].as_str().is_some_and(|remedy| remedy.contains(setting)), "{status:#}");
        app.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_search_that_vanished_is_read_again() {
    let app = start("", &[("SEARCH_PAGE", "5")]).await;
    app.sql(
        "CREATE FUNCTION public.later() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.next_run_at := clock_timestamp() + interval '1 hour'; RETURN NEW; END $$;
         CREATE TRIGGER later BEFORE INSERT ON bulkhead.stages FOR EACH ROW WHEN (NEW.kind = 'load') EXECUTE FUNCTION public.later()",
    )
    .await;
    let job = app.export_of(GROUP, &["Observation"]).await;
    app.until_sql("SELECT count(*) = 1 AND bool_and(state = 'downloaded') FROM bulkhead.export_files WHERE export_id = $1", job).await;
    std::fs::remove_dir_all(app.blobs().join(job.to_string())).expect("the blobs");
    app.sql(
        "DROP TRIGGER later ON bulkhead.stages;
         UPDATE bulkhead.stages SET next_run_at = clock_timestamp() WHERE kind = 'load' AND state = 'ready'",
    )
    .await;
    let status = app.until(job, "completed").await;
    assert!(told(&status, "read again"), "{status:#}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_one_patient_at_a_time_is_asked_for_one_at_a_time() {
    let app = start("", &[]).await;
    // The list is refused however it is asked, and one patient is not.
    app.sandbox.fault("search:status=400*2@Observation");
    let job = app.export_of("TuftsHealthPlan", &["Observation"]).await;
    let status = app.until(job, "completed").await;
    assert!(told(&status, "is made in 11"), "{status:#}");
    assert_eq!(findings(&status), [], "{status:#}");
    app.assert_rows_of(job, "TuftsHealthPlan", &["Observation"]).await;
    app.assert_nothing_left().await;
    // Refused altogether, it is not taken apart.
    app.sandbox.fault("search:status=400*always@Observation");
    let job = app.export_of("TuftsHealthPlan", &["Observation"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), found("file_failed", "error"), "{status:#}");
    assert_eq!(status["files"].as_array().map(Vec::len), Some(1), "{status:#}");
    app.assert_nothing_left().await;
}
