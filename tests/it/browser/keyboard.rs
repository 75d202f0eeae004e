use bulkhead_tests::{Browser, history};

use super::{Stage, idle};

/// The export whose link has the focus.
async fn focused(browser: &Browser) -> i64 {
    let script = "return [...document.querySelectorAll('#rows tr')].indexOf(document.activeElement.closest('tr'))";
    browser.script(script).await.as_i64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_can_be_used_with_the_keyboard_alone() {
    let Some(stage) = Stage::with_operator(idle()).await else { return };
    let browser = &stage.browser;
    history::add(&stage.app.pool, 8, 2).await;
    browser.go("/exports").await;

    browser.press("j").await;
    assert_eq!(focused(browser).await, 0);
    browser.press("jj").await;
    assert_eq!(focused(browser).await, 2);
    browser.press("k").await;
    assert_eq!(focused(browser).await, 1);
    browser.press("x").await;
    browser.until_says("#picked", "1 selected").await;
    // The list is asked for again meanwhile: neither the place nor what is selected is lost.
    let swap = "window.swapped = false; document.addEventListener('htmx:after:swap', () => { window.swapped = true; }, { once: true });
                htmx.trigger('#events', 'changed');";
    browser.script(swap).await;
    browser.until_true("return window.swapped").await;
    assert_eq!(focused(browser).await, 1, "the focus is lost");
    browser.until_says("#picked", "1 selected").await;
    browser.press("jx").await;
    browser.until_says("#picked", "2 selected").await;
    browser.press("x").await;
    browser.until_says("#picked", "1 selected").await;

    browser.press("?").await;
    browser.until_true("return document.querySelector('#help').matches(':popover-open')").await;
    assert_eq!(browser.axe().await, [""; 0], "the help");
    browser.press("?").await;
    browser.until_true("return !document.querySelector('#help').matches(':popover-open')").await;

    // In a field letters are letters.
    browser.press("/").await;
    browser.press("jx").await;
    browser.until_true("return document.activeElement.id === 'q' && document.activeElement.value === 'jx'").await;
    browser.until_at("/exports?q=jx").await;
    browser.go("/exports").await;
    browser.press("j").await;
    browser.press('\u{e007}').await;
    browser.until_true("return /^\\/exports\\/[0-9a-f-]{36}$/.test(location.pathname)").await;
    stage.was_quiet().await;
}
