//! The data page: the guide's last step word by word, numbers that equal SQL, and bars that filter.

use bulkhead_tests::{App, Browser, browser::Language};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::Stage;

/// An export that is loaded and summed up.
async fn loaded(app: &App) -> Uuid {
    let job = app.export("HealthNewEngland").await;
    app.until(job, "completed").await;
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.summaries WHERE export_id = $1)", job).await;
    job
}

async fn sql(app: &App, sql: String) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&app.pool).await.expect("a number")
}

/// The charts are drawn.
async fn drawn(browser: &Browser) {
    browser.until_true("return document.querySelectorAll('.chart canvas').length > 3 && !document.querySelector('[aria-busy=true]')").await;
}

/// The numbers above the charts: people and resources.
async fn sums(browser: &Browser) -> Vec<i64> {
    let texts = browser.script("return [...document.querySelectorAll('.sums strong')].map((one) => one.textContent)").await;
    let texts = texts.as_array().expect("sums");
    texts.iter().map(|n| n.as_str().unwrap_or_default().replace(',', "").parse().expect("a number")).collect()
}

/// A row of a chart's table, by what it begins with.
async fn row(browser: &Browser, chart: &str, first: &str) -> Vec<String> {
    let script = format!(
        "const rows = [...document.querySelectorAll('[aria-labelledby={chart}-title] tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent));
         return rows.find((row) => row[0] === '{first}') || []"
    );
    let row = browser.script(&script).await;
    row.as_array().into_iter().flatten().map(|cell| cell.as_str().unwrap_or_default().to_owned()).collect()
}

/// Clicks a bar of a chart that ECharts drew: where it says that this datum is.
async fn click_bar(browser: &Browser, chart: &str, series: usize, datum: usize) {
    let at = format!(
        "const place = document.querySelector('.chart[data-chart={chart}]');
         place.scrollIntoView({{ block: 'center' }});
         const box = echarts.getInstanceByDom(place).getModel().getSeriesByIndex({series}).getData().getItemLayout({datum});
         const here = place.getBoundingClientRect();
         return [here.x + box.x + box.width / 2, here.y + box.y + box.height / 2]"
    );
    let at = browser.script(&at).await;
    let (x, y) = (at[0].as_f64().expect("x"), at[1].as_f64().expect("y"));
    browser.click_at(x, y).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_last_step_works_word_by_word_in_both_languages() {
    let Some(stage) = Stage::set(crate::setup()).await else { return };
    let job = loaded(&stage.app).await;
    stage.pages.user("admin", bulkhead_shared::domain::role::Role::Viewer).await;
    let browser = &stage.browser;
    // 访问 http://localhost:3000 并登录：进入 数据可视化 页面，使用 ETL Job ID 筛选查看特定 Group 的数据
    for (language, login, page, show) in
        [(Language::Chinese, "登录", "数据可视化", "显示"), (Language::English, "Log in", "Data Visualisation", "Show")]
    {
        browser.language(language).await;
        browser.go("/").await;
        browser.until_at("/login").await;
        browser.fill("#name", "admin").await;
        browser.fill("#password", bulkhead_tests::pages::PASSWORD).await;
        browser.click_on(login).await;
        browser.click_on(page).await;
        browser.until_says("h1", page).await;
        browser.until_says("label[for=etl_job_id]", "ETL Job ID").await;
        browser.fill("#etl_job_id", &job.to_string()).await;
        browser.click_on(show).await;
        browser.until_at(&format!("/data?etl_job_id={job}")).await;
        browser.until_says("#numbers", "").await;
        browser.until_says("main", "HealthNewEngland").await;
        drawn(browser).await;
        let people = sql(&stage.app, format!("SELECT count(*) FROM fhir.patients WHERE etl_job_id = '{job}'")).await;
        assert_eq!(sums(browser).await[0], people);
        browser.click_on(if language == Language::Chinese { "退出登录" } else { "Log out" }).await;
        browser.until_at("/login").await;
    }
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_shows_is_what_sql_counts_and_a_click_on_a_bar_filters_the_other_charts() {
    let Some(stage) = Stage::with_operator(crate::setup()).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    let job = loaded(app).await;
    browser.go(&format!("/data?etl_job_id={job}")).await;
    drawn(browser).await;
    let patients = format!("SELECT count(*) FROM fhir.patients WHERE etl_job_id = '{job}'");
    let all = sql(app, patients.clone()).await;
    let rows = sql(app, format!("SELECT rows FROM completed_exports WHERE etl_job_id = '{job}'")).await;
    assert_eq!(sums(browser).await, [all, rows]);
    let conditions = sql(app, format!("SELECT count(*) FROM fhir.conditions WHERE etl_job_id = '{job}'")).await;
    assert_eq!(row(browser, "resources", "Condition").await.last().map(|n| n.replace(',', "")), Some(conditions.to_string()));

    // The uppermost bar of the conditions: everybody else is filtered out.
    click_bar(browser, "conditions", 0, 0).await;
    browser.until_at(&format!("/data?etl_job_id={job}&condition=")).await;
    drawn(browser).await;
    let path = browser.path().await;
    let code = path.split("condition=").nth(1).expect("a code").to_owned();
    let who = format!("SELECT DISTINCT patient_id FROM fhir.conditions WHERE etl_job_id = '{job}' AND code = '{code}'");
    let chosen = sql(app, format!("{patients} AND id IN ({who})")).await;
    assert!(0 < chosen && chosen < all, "{chosen} of {all}");
    assert_eq!(sums(browser).await[0], chosen);
    let encounters = sql(app, format!("SELECT count(*) FROM fhir.encounters WHERE etl_job_id = '{job}' AND patient_id IN ({who})")).await;
    assert_eq!(row(browser, "resources", "Encounter").await.last().map(|n| n.replace(',', "")), Some(encounters.to_string()));

    // The address alone leads to the same, and the way back to everybody.
    browser.go("/exports").await;
    browser.go(&path).await;
    drawn(browser).await;
    assert_eq!(sums(browser).await[0], chosen);
    browser.click_on("Clear all").await;
    browser.until_true(&format!("return location.search === '?etl_job_id={job}'")).await;
    drawn(browser).await;
    assert_eq!(sums(browser).await[0], all);
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_loading_appears_without_a_reload_when_it_is_there() {
    let Some(stage) = Stage::with_operator(crate::setup()).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    app.sandbox.fault("file:hold=half@Observation");
    let job = app.export("HealthNewEngland").await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    browser.go(&format!("/data?etl_job_id={job}")).await;
    browser.until_says("#numbers [role=status]", "under way").await;
    browser.script("window.still = true").await;
    app.sandbox.release();
    drawn(browser).await;
    assert_eq!(browser.script("return window.still").await, true, "the same page");
    stage.was_quiet().await;
}
