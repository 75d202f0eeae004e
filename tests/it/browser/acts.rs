//! What operators do with exports that failed.

use bulkhead_tests::{App, Setup, mix::Mix};
use uuid::Uuid;

use super::Stage;

/// Not all conditions can be loaded, until it is retried.
async fn incomplete(app: &App, group: &str) -> Uuid {
    app.sandbox.fault("file:malformed-line*always@Condition");
    let job = app.export_of(group, &["Patient", "Condition"]).await;
    app.until(job, "failed").await;
    app.sandbox.clear_faults();
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_export_says_what_to_do_and_a_retry_is_watched_until_it_is_completed() {
    let Some(stage) = Stage::with_operator(crate::setup()).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    let job = incomplete(app, "MinutemanHealth").await;
    browser.go(&format!("/exports/{job}")).await;
    browser.until_says(".standing", "Failed").await;
    browser.until_says(".standing", "What to do").await;
    browser.click_on("Retry").await;
    browser.until_says(".standing", "Completed").await;
    assert!(!browser.offers("Retry").await, "there is nothing to retry any more");
    assert_eq!(app.status(job).await["status"], "completed");
    app.assert_rows_of(job, "MinutemanHealth", &["Patient", "Condition"]).await;
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_match_are_retried_after_their_number_was_confirmed() {
    let Some(stage) = Stage::with_operator(Setup { sandbox: Mix::sandbox(0.01), ..crate::setup() }).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    let jobs = [incomplete(app, "MinutemanHealth").await, incomplete(app, "FallonHealth").await];
    let other = app.export("ClosedHealth").await;
    app.until(other, "failed").await;

    browser.go("/exports?state=failed&reason=incomplete").await;
    browser.click("#all").await;
    browser.click_on("Retry").await;
    browser.until_says("#count", "2 exports will be retried").await;
    browser.click_on("Retry 2 exports").await;
    browser.until_says("main", "2 exports were retried").await;
    for job in jobs {
        app.until(job, "completed").await;
    }
    assert_eq!(app.status(other).await["status"], "failed", "it did not match");
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_runs_is_cancelled_after_it_was_asked_for_sure() {
    let Some(stage) = Stage::with_operator(crate::setup()).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    app.sandbox.fault("file:hold=half@Condition");
    let job = app.export_of("FallonHealth", &["Condition"]).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    browser.go(&format!("/exports/{job}")).await;
    browser.click_on("Cancel").await;
    browser.until_at(&format!("/exports/{job}/cancel")).await;
    browser.click("main form button[type=submit]").await;
    browser.until_says(".standing", "Cancelled").await;
    assert_eq!(app.status(job).await["status"], "cancelled");
    app.sandbox.release();
    stage.was_quiet().await;
}
