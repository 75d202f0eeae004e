//! The page itself: what a reader without scripts gets, and what the script gets.

use std::net::SocketAddr;

use bulkhead_api::{
    ApiState,
    access::{Access, ApiAuth},
};
use bulkhead_shared::{domain::outgoing::OutgoingRules, secrets::Cipher};
use bulkhead_tests::{
    App, Setup,
    app::{client, secret_key},
};
use serde_json::Value;

use super::data_of;
use crate::setup;

/// The pages over a database, in an open house.
pub async fn pages(app: &App) -> String {
    let cipher = Cipher::from_base64(&secret_key()).expect("a key");
    let access = Access { pages: ApiAuth::Open, ..Access::default() };
    let state = ApiState { access, ..ApiState::new(app.pool.clone(), cipher, OutgoingRules::default(), 20) };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = bulkhead_api::pages_router(state).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

pub async fn read(base: &str, path: &str, language: &str) -> (String, String) {
    let answer = client().get(format!("{base}{path}")).header("accept-language", language).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    let policy = answer.headers()["content-security-policy"].to_str().expect("text").to_owned();
    (answer.text().await.expect("a page"), policy)
}

/// The links of a page.
pub fn links(html: &str) -> Vec<String> {
    html.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(|link| link.replace("&#38;", "&").replace("&amp;", "&"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_every_number_in_a_table_with_its_link_and_its_csv_in_both_languages() {
    let app = App::start(Setup { workers: 1, ..setup() }).await;
    let job = app.export("HealthNewEngland").await;
    app.until(job, "completed").await;
    let numbers = data_of(&app, job, "").await;
    let base = pages(&app).await;

    let (pick, _) = read(&base, "/data", "en").await;
    assert!(pick.contains("Data Visualisation") && pick.contains(&format!("/data?etl_job_id={job}")), "the export is offered");
    let (english, policy) = read(&base, &format!("/data?etl_job_id={job}"), "en").await;
    let (chinese, _) = read(&base, &format!("/data?etl_job_id={job}"), "zh-CN").await;
    assert!(chinese.contains("数据可视化") && chinese.contains("ETL Job ID"), "the guide's words");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let scripts =
        english.split("<script").skip(1).filter(|script| !script.starts_with(" src=") && !script.starts_with(" type=\"application/json\""));
    assert_eq!(scripts.count(), 0, "no inline script");
    assert!(!english.contains(" style=") && !english.contains("⟦"), "no inline style, no text that lacks");

    let conditions = numbers["charts"].as_array().expect("charts").iter().find(|table| table["name"] == "conditions").expect("it");
    for row in conditions["rows"].as_array().expect("rows") {
        assert!(english.contains(row[1].as_str().expect("a code")), "{row}");
    }
    let all = links(&english);
    for chart in ["resources", "people", "conditions", "encounters", "observations", "medications", "histogram", "trend"] {
        let csv = all.iter().find(|link| link.contains(&format!("/data/{chart}?"))).unwrap_or_else(|| panic!("no CSV of {chart}"));
        let answer = client().get(format!("{base}{csv}")).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().expect("text")), (200, "text/csv; charset=utf-8"));
    }

    // A link picks, the same link on the next page lets go.
    let female = all.iter().find(|link| link.contains("gender=female")).expect("a link that picks");
    let (picked, _) = read(&base, female, "en").await;
    let chosen = data_of(&app, job, "gender=female").await;
    let people = chosen["charts"][0]["rows"][0][2].as_i64().expect("people");
    assert!(people > 0 && picked.contains(&format!("<strong>{people}</strong>")), "{people} are chosen");
    assert!(links(&picked).contains(&format!("/data?etl_job_id={job}")), "it can be let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_resources_say_is_text_on_the_page_and_in_what_the_script_reads() {
    let app = App::start(setup()).await;
    let job = app.export_of("FallonHealth", &["Patient"]).await;
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    let evil = "</script><script>alert(1)</script>&\"'";
    sqlx::query(
        "INSERT INTO conditions (etl_job_id, id, part_id, patient_id, code, display, resource) VALUES ($1, 'x', 0, 'p', $2, $2, '{}')",
    )
    .bind(job)
    .bind(evil)
    .execute(&app.pool)
    .await
    .expect("a row");
    app.sql("DELETE FROM bulkhead.summaries").await;
    data_of(&app, job, "").await;
    let base = pages(&app).await;
    let (html, _) = read(&base, &format!("/data?etl_job_id={job}"), "en").await;
    assert!(!html.contains("<script>alert"), "it is text");
    let json = html.split("id=\"chart-numbers\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("the numbers");
    let json: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(json["charts"]["conditions"]["rows"][0][1], evil, "as it is");
    assert_eq!(json["jobs"][job.to_string()], "FallonHealth");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_about_an_export_under_way_or_none_says_so() {
    let app = App::start(setup()).await;
    app.sandbox.fault("file:hold=half@Observation");
    let base = pages(&app).await;
    let (nothing, _) = read(&base, "/data", "en").await;
    assert!(nothing.contains("No export has brought any data yet"));
    let job = app.export("HealthNewEngland").await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.until_sql("SELECT bool_or(state = 'loaded') FROM bulkhead.file_parts WHERE export_id = $1", job).await;
    let (html, _) = read(&base, &format!("/data?etl_job_id={job}"), "en").await;
    assert!(
        html.contains("under way")
            && html.contains("http-equiv=\"refresh\"")
            && html.contains("data-again=")
            && !html.contains("class=\"chart "),
        "it says so, and looks again"
    );
    app.sandbox.release();
    app.until(job, "completed").await;
    let gone = client().get(format!("{base}/data?etl_job_id=019b0000-0000-7000-8000-000000000000")).send().await.expect("an answer");
    assert_eq!(gone.status(), 404);
}
