use super::{Stage, idle};

#[tokio::test(flavor = "multi_thread")]
async fn a_click_changes_the_language_and_another_page_keeps_it() {
    let Some(stage) = Stage::with_operator(idle()).await else { return };
    let browser = &stage.browser;
    browser.go("/exports?state=failed").await;
    browser.until_says("h1", "Exports").await;
    browser.click_on("中文").await;
    browser.until_says("h1", "导出").await;
    assert_eq!(browser.path().await, "/exports?state=failed", "the same page");
    browser.click_on("数据可视化").await;
    browser.until_says("h1", "数据可视化").await;
    browser.click_on("English").await;
    browser.until_says("h1", "Data Visualisation").await;
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_makes_it_dark_and_another_page_stays_dark() {
    let Some(stage) = Stage::with_operator(idle()).await else { return };
    let browser = &stage.browser;
    let paper = "return getComputedStyle(document.documentElement).backgroundColor";
    browser.go("/exports").await;
    browser.click_on("Light").await;
    browser.until_true("return document.documentElement.dataset.theme === 'light'").await;
    let light = browser.script(paper).await;
    browser.click_on("Dark").await;
    browser.until_true("return document.documentElement.dataset.theme === 'dark'").await;
    let dark = browser.script(paper).await;
    assert_ne!(light, dark);
    browser.click_on("Data Visualisation").await;
    browser.until_at("/data").await;
    assert_eq!(browser.script(paper).await, dark);
    stage.was_quiet().await;
}
