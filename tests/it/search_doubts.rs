//! Searches of servers that say 200 and do not give what was asked for: "completed" must not hide it.

use bulkhead_tests::App;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    loading::found,
    search::{GROUP, findings, start, told},
};

const LARGE: &str = "TuftsHealthPlan";

fn words(status: &Value) -> String {
    status["findings"].to_string()
}

fn ids(app: &App, group: &str) -> Vec<String> {
    let lines = app.sandbox.ndjson(group, "Patient");
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice::<Value>(line).expect("a patient")["id"].as_str().expect("an id").to_owned()).collect()
}

async fn retry(app: &App, job: Uuid) {
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_overlap_are_read_again_and_if_they_stay_so_nothing_is_missing() {
    let app = start("", &[("SEARCH_PAGE", "5")]).await;
    // There is nothing before the first page.
    app.sandbox.fault("search:overlap*2@Observation");
    let job = app.export_of(GROUP, &["Observation"]).await;
    let status = app.until(job, "completed").await;
    assert!(told(&status, "1 of them twice") && told(&status, "made again"), "{status:#}");
    assert_eq!(findings(&status), [], "the second reading is whole: {status:#}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.sandbox.fault("search:overlap*always@Observation");
    let job = app.export_of(GROUP, &["Observation"]).await;
    let status = app.until(job, "completed").await;
    assert!(findings(&status).iter().all(|(kind, _)| kind == "duplicates"), "{status:#}");
    app.assert_rows_are(job, "Observation", &app.sandbox.ndjson(GROUP, "Observation")).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_overlap_around_a_refusal_are_told_apart_too() {
    let app = start("", &[("SEARCH_PAGE", "5")]).await;
    for _ in 0..3 {
        app.sandbox.fault("search:delay=1ms@Observation");
    }
    app.sandbox.fault("search:status=429;retry-after=1@Observation");
    app.sandbox.fault("search:overlap*always@Observation");
    let job = app.export_of(GROUP, &["Observation"]).await;
    let status = app.until(job, "completed").await;
    assert!(findings(&status).iter().all(|(kind, _)| kind == "duplicates"), "{status:#}");
    assert!(app.sandbox.stats().faults > 4, "there was a refusal");
    app.assert_rows_are(job, "Observation", &app.sandbox.ndjson(GROUP, "Observation")).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_overlap_without_a_total_are_a_gap_that_a_retry_mends() {
    let app = start("no-total", &[("SEARCH_PAGE", "5")]).await;
    app.sandbox.fault("search:overlap*always@Observation");
    let job = app.export_of(GROUP, &["Observation"]).await;
    let status = app.until(job, "failed").await;
    assert!(findings(&status).contains(&("count_mismatch".to_owned(), "error".to_owned())), "{status:#}");
    assert!(words(&status).contains("came on two pages"), "{status:#}");
    app.sandbox.clear_faults();
    retry(&app, job).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), found("unconfirmed", "warning"), "{status:#}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_end_after_their_export_failed_leave_it_ready_for_a_retry() {
    let app = start("", &[]).await;
    app.sandbox.fault("metadata:hold");
    let job = app.export_of(GROUP, &["Observation"]).await;
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'members' AND state = 'running')", job).await;
    app.sql(
        "UPDATE bulkhead.exports SET failed_from = state, state = 'failed', finished_at = clock_timestamp(), failure_stage = 'download',
                failure_reason = 'credentials', failure_detail = 'Refused.', failure_remedy = 'Retry.'",
    )
    .await;
    app.sandbox.release();
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'members' AND state = 'done')", job).await;
    retry(&app, job).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_whose_resources_are_asked_for_gives_no_row() {
    let app = start("search-ignore=patient,_id", &[("SEARCH_PATIENTS", "1")]).await;
    let job = app.export_of(GROUP, &["Observation", "Patient"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete", "{status:#}");
    assert!(words(&status).contains("of other patients than asked for"), "{status:#}");
    assert_eq!(status["records_loaded"], 0, "{status:#}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_looks_at_the_first_patient_only_is_noticed_and_asked_for_each() {
    let app = start("first-of-list", &[]).await;
    let job = app.export_of(LARGE, &["Patient", "Observation", "Immunization"]).await;
    let status = app.until(job, "failed").await;
    assert!(findings(&status).contains(&("list_not_applied".to_owned(), "error".to_owned())), "{status:#}");
    retry(&app, job).await;
    let status = app.until(job, "completed").await;
    assert!(findings(&status).iter().all(|(_, severity)| severity == "warning"), "{status:#}");
    for kind in ["Patient", "Observation", "Immunization"] {
        app.assert_rows_are(job, kind, &app.sandbox.ndjson(LARGE, kind)).await;
    }
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_order_and_no_total_is_asked_without() {
    for refused in ["_sort", "_total", "_sort,_total"] {
        let app = start(&format!("search-refuse={refused}"), &[]).await;
        let job = app.export_of(GROUP, &["Observation"]).await;
        let status = app.until(job, "completed").await;
        assert_eq!(findings(&status), [], "{refused}: {status:#}");
        app.assert_rows_of(job, GROUP, &["Observation"]).await;
        assert_eq!(status["files"].as_array().map(Vec::len), Some(1), "it is not taken apart: {status:#}");
        app.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_the_server_ignores_is_a_finding() {
    let app = start("search-ignore=_lastUpdated", &[]).await;
    let mut body = app.body_of(GROUP, &["Observation"]);
    body["since"] = json!("2024-06-01T00:00:00Z");
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    let expected = [("filter_not_applied".to_owned(), "warning".to_owned()), ("filter_not_applied".to_owned(), "warning".to_owned())];
    assert_eq!(findings(&status), expected, "{status:#}");
    assert!(words(&status).contains("_lastUpdated should have left out"), "{status:#}");
    assert!(words(&status).contains("does not say that it applied _lastUpdated"), "{status:#}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_without_a_total_are_a_finding_of_the_export() {
    let app = start("no-total", &[("SEARCH_PAGE", "5")]).await;
    let job = app.export_of(GROUP, &["Observation", "Condition", "Patient"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), found("unconfirmed", "warning"), "{status:#}");
    assert!(words(&status).contains("how much they find: 2."), "each patient came by id: {status:#}");
    app.assert_rows_of(job, GROUP, &["Observation", "Condition", "Patient"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_does_not_list_its_members_is_never_completed() {
    let app = start("hidden-members", &[]).await;
    let job = app.export(GROUP).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete", "{status:#}");
    assert!(findings(&status).contains(&("members_left_out".to_owned(), "error".to_owned())), "{status:#}");
    assert!(words(&status).contains("do not list their members"), "{status:#}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_before_a_refusal_are_not_asked_for_again() {
    let app = start("", &[("SEARCH_PAGE", "5")]).await;
    let pages = app.sandbox.expected(Some(GROUP))["Observation"].div_ceil(5);
    assert!(pages >= 6, "{pages}");
    for _ in 0..4 {
        app.sandbox.fault("search:delay=1ms@Observation");
        app.sandbox.fault("search:status=429;retry-after=1@Observation");
    }
    let job = app.export_of(GROUP, &["Observation"]).await;
    let status = app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    assert_eq!(findings(&status), [], "{status:#}");
    assert_eq!(app.sandbox.stats().faults, 8, "four delays and four refusals");
    assert_eq!(app.sandbox.stats().searches, pages, "each page is answered once");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patients_whom_a_refusal_quotes_are_shown_to_nobody() {
    let app = start("", &[]).await;
    let named = ids(&app, GROUP).remove(0);
    app.sandbox.fault(&*format!("search:status=403;text=Not allowed: patient={named}@Observation"));
    app.sandbox.fault(&*format!("search:status=422;text=patient=x%2C{named}%2Cy is strange*always@Condition"));
    for kind in ["Observation", "Condition"] {
        let job = app.export_of(GROUP, &[kind]).await;
        let status = app.until(job, "failed").await.to_string();
        assert!(status.contains('…'), "{status}");
        assert!(!status.contains(&named), "{status}");
    }
    assert!(!app.logs().contains(&named));
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_among_the_entries_that_says_error_is_mended_by_a_retry() {
    let app = start("", &[]).await;
    app.sandbox.fault("search:outcome-entry=error@Observation");
    let job = app.export_of(GROUP, &["Observation"]).await;
    app.until(job, "failed").await;
    retry(&app, job).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), [], "{status:#}");
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_the_group_that_can_be_read_later_is_read_by_a_retry() {
    let app = start("odd-groups", &[]).await;
    app.sandbox.fault("search:status=404@Group/inner");
    let job = app.export("nested").await;
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), found("members_left_out", "error"), "{status:#}");
    retry(&app, job).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), [], "{status:#}");
    app.assert_rows_right(job, "nested").await;
    app.assert_nothing_left().await;
}
