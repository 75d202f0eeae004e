//! The list of exports: what happens is seen without a reload, and every list has an address.

use bulkhead_tests::{Setup, mix::Mix};

use super::{Stage, idle};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_appears_in_the_open_list_and_is_watched_until_it_is_completed() {
    let Some(stage) = Stage::with_operator(crate::setup()).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    browser.go("/exports").await;
    browser.until_says("main", "Nothing has been exported yet").await;
    browser.script("window.still = true").await;
    app.sandbox.fault("file:hold=half@Observation");
    let job = app.export("HealthNewEngland").await;
    let row = format!("#e-{job}");
    browser.until_says(&format!("{row} .c-state"), "Downloading").await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.sandbox.release();
    browser.until_says(&format!("{row} .c-state"), "Completed").await;
    let rows = app.status(job).await["records_loaded"].as_i64().expect("a number");
    browser.until_true(&format!("return document.querySelector('{row} .c-rows').textContent.replace(',', '').startsWith('{rows}')")).await;
    assert_eq!(browser.script("return window.still").await, true, "the same page");
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_in_the_address_and_an_address_filters() {
    let Some(stage) = Stage::with_operator(Setup { sandbox: Mix::sandbox(0.01), ..crate::setup() }).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    let good = app.export_of("FallonHealth", &["Patient"]).await;
    let bad = app.export("ClosedHealth").await;
    app.until(good, "completed").await;
    app.until(bad, "failed").await;

    browser.go("/exports?state=failed").await;
    assert_eq!((browser.count("#rows tr").await, browser.count(&format!("#e-{bad}")).await), (1, 1));
    browser.go("/exports?state=failed&not=state").await;
    assert_eq!((browser.count("#rows tr").await, browser.count(&format!("#e-{good}")).await), (1, 1));

    // By hand: what is typed and ticked gets an address, and going back takes it away.
    browser.go("/exports").await;
    browser.fill("#q", "Closed").await;
    browser.until_at("/exports?q=Closed").await;
    browser.until_true("return document.querySelectorAll('#rows tr').length === 1").await;
    browser.click("label.state.completed").await;
    browser.until_says("main", "No export matches").await;
    assert!(browser.path().await.contains("state=completed"), "{}", browser.path().await);
    browser.click("#clear").await;
    browser.until_true("return location.search === '' && document.querySelectorAll('#rows tr').length === 2").await;
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_hears_nothing_more_says_so() {
    let Some(mut stage) = Stage::with_operator(idle()).await else { return };
    stage.browser.go("/exports").await;
    stage.browser.until_says("main", "Live").await;
    stage.pages.stop().await;
    stage.browser.until_says("main", "Not up to date").await;
    stage.pages.start_again(&stage.app.database).await;
    stage.browser.until_says("main", "Live").await;
}
