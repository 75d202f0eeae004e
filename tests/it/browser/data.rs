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
    let asked = "return performance.getEntriesByType('resource').filter((one) => one.name.includes('/data/standings')).length > 0";
    browser.until_true(asked).await;
    let counted = "return performance.getEntriesByType('resource').filter((one) => one.name.includes('/data?')).length";
    assert_eq!(browser.script(counted).await, 0, "nothing is counted while nothing is there");
    app.sandbox.release();
    drawn(browser).await;
    assert_eq!(browser.script("return window.still").await, true, "the same page");
    stage.was_quiet().await;
}

/// The page's own drawing, of numbers as they may come.
async fn drawing(browser: &Browser, page: &str, rest: &str) -> serde_json::Value {
    let script = format!(
        "const page = Object.assign({{ words: {{ not_given: 'not given', age: 'Age', median: 'Median', mean: 'Mean', middle_half: 'Middle half', records: 'Resources' }}, names: {{}}, jobs: {{ j: 'J' }}, filters: [], by: 'year', bands: '10', unit: null }}, {page});
         page.charts.totals = {{ columns: ['job_id'], rows: Object.keys(page.jobs).map((job) => [job]) }};
         const ink = {{ text: 'black', muted: 'gray', line: 'gray', raised: 'white', shadow: 'gray', font: 'sans-serif', width: 600,
             series: [0, 1, 2, 3, 4, 5, 6, 7].map((n) => `rgb(${{n}}, 0, 0)`) }};
         {rest}"
    );
    browser.script(&script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_true_of_odd_numbers() {
    let Some(stage) = Stage::with_operator(crate::setup()).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    let job = loaded(app).await;
    browser.go(&format!("/data?etl_job_id={job}")).await;
    drawn(browser).await;

    // The middle half of values around zero reaches from the first quartile to the third.
    let trend = "{ charts: { trend: { columns: ['job_id', 'part', 'unit', 'period', 'records', 'mean', 'lowest', 'quarter', 'median', 'three_quarters', 'highest'],
        rows: [['j', null, null, '2020', 4, 0, -9, -5, 0, 2, 9], ['j', null, null, '2021', 4, 0, -9, -5, 0, 2, 9]] } } }";
    let top =
        "const place = document.createElement('div'); place.style.cssText = 'width: 600px; height: 300px'; document.body.append(place);
        const chart = echarts.init(place); const { height, ...option } = draw(page, ink, 'trend', 'quartiles'); chart.setOption(option);
        const data = chart.getModel().getSeriesByIndex(1).getData();
        const top = data.get(data.getCalculationInfo('stackResultDimension'), 0); chart.dispose(); place.remove(); return top";
    assert_eq!(drawing(browser, trend, top).await, 2);

    // Every period between two, written as the server writes them; with a year 1 among them only those that are known.
    for (by, periods, all) in [
        ("year", "['2021', '2019', null]", serde_json::json!(["2019", "2020", "2021", "not given"])),
        ("quarter", "['2020-Q1', '2019-Q3']", serde_json::json!(["2019-Q3", "2019-Q4", "2020-Q1"])),
        ("month", "['2020-01', '2019-11']", serde_json::json!(["2019-11", "2019-12", "2020-01"])),
        ("year", "['0001', '2023', '0998']", serde_json::json!(["0001", "0998", "2023"])),
    ] {
        let page = format!(
            "{{ by: '{by}', charts: {{ encounters: {{ columns: ['job_id', 'period', 'class', 'records'], rows: {periods}.map((period) => ['j', period, 'AMB', 1]) }} }} }}"
        );
        assert_eq!(drawing(browser, &page, "return draw(page, ink, 'encounters', 'columns').xAxis.data").await, all);
    }

    // A gender has its colour, alone or beside others, of one export or of two.
    for jobs in ["{ j: 'J' }", "{ j: 'J', k: 'K' }"] {
        for genders in ["['male', 'female', 'other', 'unknown', null]", "['unknown', null]"] {
            let page = format!(
                "{{ jobs: {jobs}, charts: {{ people: {{ columns: ['job_id', 'gender', 'age_from', 'age_to', 'people'],
                    rows: Object.keys({jobs}).flatMap((job) => {genders}.map((gender) => [job, gender, 20, 29, 3])) }} }} }}"
            );
            let different = "const colours = draw(page, ink, 'people', 'columns').series.map((one) => one.color);
                const usual = ['rgba(0,0,0,1)', 'rgba(1,0,0,1)'];
                return [new Set(colours).size === colours.length, page.charts.people.rows.length > 4 || colours.every((one) => !usual.includes(one))]";
            assert_eq!(drawing(browser, &page, different).await, serde_json::json!([true, true]), "{jobs} {genders}");
        }
    }

    // What is small has its digits, values without a unit are drawn where most have none, and of many types each has its bar.
    let small = "{ charts: { histogram: { columns: ['job_id', 'part', 'unit', 'from', 'to', 'records'],
        rows: [['j', null, null, 0.002, 0.0025, 7], ['j', null, 'cm', 1, 2, 3]] } } }";
    let bars = "const option = draw(page, ink, 'histogram', 'columns'); return [option.xAxis.data, option.series.map((one) => one.data)]";
    assert_eq!(drawing(browser, small, bars).await, serde_json::json!([["0.002"], [[7]]]));
    let types = "{ charts: { resources: { columns: ['job_id', 'resource_type', 'people', 'records'], rows: [...Array(30).keys()].map((n) => ['j', `Type${n}`, 1, n]) } } }";
    let all = "const option = draw(page, ink, 'resources', 'bars'); return [option.series[0].data.length, option.height > 30 * 20]";
    assert_eq!(drawing(browser, types, all).await, serde_json::json!([30, true]));
    stage.was_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pick_by_keyboard_keeps_its_place_and_is_said() {
    let Some(stage) = Stage::with_operator(crate::setup()).await else { return };
    let (app, browser) = (&stage.app, &stage.browser);
    let job = loaded(app).await;
    browser.go(&format!("/data?etl_job_id={job}")).await;
    drawn(browser).await;
    let focus = "const twin = document.querySelector('[aria-labelledby=people-title] details'); twin.open = true;
        const link = [...twin.querySelectorAll('a')].find((one) => one.textContent === 'Female'); link.focus(); link.click()";
    browser.script(focus).await;
    browser.until_at(&format!("/data?etl_job_id={job}&gender=female")).await;
    drawn(browser).await;
    assert_eq!(browser.script("return document.activeElement.textContent").await, "Female");
    let said = browser.text("#said").await;
    let people =
        sql(app, format!("SELECT count(*) FROM fhir.patients WHERE etl_job_id = '{job}' AND resource->>'gender' = 'female'")).await;
    assert!(said.contains("People") && said.contains(&people.to_string()), "{said}");
    // What was let go is gone, and the focus is where it was.
    browser.script("const chip = document.querySelector('.filters .filter'); chip.focus(); chip.click()").await;
    browser.until_true(&format!("return location.search === '?etl_job_id={job}'")).await;
    drawn(browser).await;
    assert_eq!(browser.script("return document.activeElement.className").await, "filters");
    stage.was_quiet().await;
}
