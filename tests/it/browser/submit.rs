use bulkhead_tests::{Setup, app::client, mix::Mix};

use super::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_submitted_through_the_form_and_watched_until_they_are_completed() {
    let Some(stage) = Stage::with_operator(Setup { sandbox: Mix::sandbox(0.01), ..crate::setup() }).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    let base = app.sandbox.base_url();
    let origin = base.trim_end_matches("/fhir");
    let config = client().get(format!("{origin}/sandbox/config")).send().await.expect("an answer").text().await.expect("JSON");

    browser.go("/exports").await;
    browser.click("nav a.new").await;
    browser.until_at("/new").await;
    browser.fill("#config", &config).await;
    browser.fill("#fhir_server_url", &base).await;
    browser.click_on("Look at the server").await;
    browser.until_says("main", "The server answers and all is well").await;
    assert_eq!(browser.axe().await, [""; 0], "the choice");
    for group in ["FallonHealth", "MinutemanHealth"] {
        browser.click(&format!("input[name=group][value={group}]")).await;
    }
    browser.click("input[name=type][value=Patient]").await;
    browser.click_on("Go on to the summary").await;
    browser.until_says("main", "FallonHealth").await;
    assert_eq!(browser.axe().await, [""; 0], "the summary");
    browser.click_on("Submit 2 exports").await;
    browser.until_says("h1", "2 exports submitted").await;
    browser.script("window.still = true").await;
    browser.until_true("return document.querySelectorAll('#live .chip.completed').length === 2").await;
    assert_eq!(browser.script("return window.still").await, true, "the same page");
    assert_eq!(browser.axe().await, [""; 0], "what became of it");
    let loaded = "SELECT count(*) = 2 AND bool_and(state = 'completed' AND resource_types = '{Patient}') FROM bulkhead.exports WHERE group_id IS NOT NULL";
    assert!(app.is(loaded).await, "the database says the same");
    stage.was_quiet().await;
}
