use bulkhead_shared::{db::sessions, domain::role::Role};
use bulkhead_tests::pages::PASSWORD;

use super::{Stage, idle};

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_is_led_to_the_page_that_was_asked_for_and_a_wrong_password_is_not() {
    let Some(stage) = Stage::set(idle()).await else { return };
    stage.pages.user("olga", Role::Operator).await;
    let browser = &stage.browser;

    browser.go("/data?latest=groups").await;
    browser.until_at("/login").await;
    browser.fill("#name", "olga").await;
    browser.fill("#password", "three words only").await;
    browser.click_on("Log in").await;
    browser.until_says("[role=alert]", "The name or the password is wrong").await;
    // The browser tells of each answer that is none of success.
    assert_eq!(browser.complaints().await.len(), 1);
    assert_eq!(browser.script("return document.querySelector('#name').value").await, "olga", "what was right stays");
    assert_eq!(browser.script("return document.querySelector('#password').value").await, "");

    browser.fill("#password", PASSWORD).await;
    browser.click_on("Log in").await;
    browser.until_at("/data?latest=groups").await;
    browser.until_says(".side", "olga").await;
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_session_is_revoked_is_out_at_the_next_click() {
    let Some(stage) = Stage::with_operator(idle()).await else { return };
    let browser = &stage.browser;
    browser.go("/exports").await;
    browser.click_on("Data Visualisation").await;
    browser.until_at("/data").await;

    let user = stage.user("olga").await;
    assert_eq!(sessions::revoke_all(&stage.app.pool, user, None).await.expect("SQL"), 1);
    browser.click_on("Exports").await;
    browser.until_at("/login?back=%2Fexports").await;
    assert!(browser.offers("Log in").await && !browser.offers("Log out").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_out_is_out_and_the_way_back_shows_nothing() {
    let Some(stage) = Stage::with_operator(idle()).await else { return };
    let browser = &stage.browser;
    browser.go("/exports").await;
    browser.click_on("Log out").await;
    browser.until_at("/login").await;
    browser.go("/exports").await;
    browser.until_at("/login?back=%2Fexports").await;
    stage.was_quiet().await;
}
