//! The pages of a new export, as a browser without scripts uses them.

use std::time::Duration;

use bulkhead_tests::{App, SandboxConfig, Setup, app::client};
use serde_json::json;
use uuid::Uuid;

use crate::{data_page::page::pages, setup};

/// What a page or a form answered.
pub struct Seen {
    pub status: u16,
    /// Where it led in the end.
    pub path: String,
    pub html: String,
}

pub async fn seen(answer: reqwest::Response) -> Seen {
    Seen { status: answer.status().as_u16(), path: answer.url().path().to_owned(), html: answer.text().await.expect("a page") }
}

pub async fn get(base: &str, path: &str) -> Seen {
    seen(client().get(format!("{base}{path}")).send().await.expect("an answer")).await
}

pub async fn post(base: &str, path: &str, form: &[(&str, &str)]) -> Seen {
    seen(client().post(format!("{base}{path}")).form(form).send().await.expect("an answer")).await
}

/// The value of a hidden field.
pub fn hidden<'a>(html: &'a str, name: &str) -> &'a str {
    html.split(&format!("name=\"{name}\" value=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

async fn start() -> (App, String) {
    let sandbox = SandboxConfig { auth: true, export_time: Duration::ZERO, ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let base = pages(&app).await;
    (app, base)
}

/// The file as the SMART page gives it.
fn file(app: &App) -> String {
    let credentials = app.credentials();
    json!({
        "auth_type": "backend-services", "fhir_url": app.sandbox.base_url(), "token_endpoint": credentials.token_url,
        "client_id": credentials.client_id, "key": credentials.private_jwk,
    })
    .to_string()
}

/// What must be seen nowhere.
fn secret(app: &App) -> String {
    app.credentials().private_jwk["d"].as_str().expect("a private key").to_owned()
}

/// The second step, when the worker has looked.
pub async fn looked(base: &str, path: &str) -> Seen {
    let began = std::time::Instant::now();
    loop {
        let page = get(base, path).await;
        assert_eq!(page.status, 200, "{}", page.html);
        if !page.html.contains("aria-busy") {
            return page;
        }
        assert!(began.elapsed() < bulkhead_tests::app::PATIENCE, "{}", page.html);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_downloaded_file_leads_to_groups_and_each_chosen_one_is_exported_once() {
    let (app, base) = start().await;
    let begun = post(&base, "/new", &[("config", &file(&app))]).await;
    assert!(begun.path.starts_with("/new/"), "{} {}", begun.path, begun.html);
    let page = looked(&base, &begun.path).await;
    assert!(page.html.contains("value=\"FallonHealth\"") && page.html.contains("Fallon Health"), "{}", page.html);
    assert!(page.html.contains("members") && page.html.contains("value=\"Observation\""), "{}", page.html);
    let chosen =
        [("level", "group"), ("group", "FallonHealth"), ("more_groups", "MinutemanHealth\r\n"), ("type", "Patient"), ("since", "last")];
    let summary = post(&base, &begun.path, &chosen).await;
    assert!(summary.html.contains("Submit 2 exports") && summary.html.contains("(the first one)"), "{}", summary.html);
    let form = hidden(&summary.html, "form").to_owned();
    let again = [&chosen[..2], &[("group", "MinutemanHealth"), ("type", "Patient"), ("since", "last"), ("form", &form)]].concat();
    let path = format!("{}/send", begun.path);
    let (one, two) = tokio::join!(post(&base, &path, &again), post(&base, &path, &again));
    for sent in [one, two] {
        assert_eq!(sent.path, format!("{}/sent/{form}", begun.path), "{}", sent.html);
        assert!(sent.html.contains("2 exports submitted"), "{}", sent.html);
        assert!(!sent.html.contains(&secret(&app)));
    }
    assert!(app.is("SELECT count(*) = 2 FROM bulkhead.exports WHERE purpose = 'export'").await, "sent twice, made once");
    app.until_sql(
        "SELECT $1::uuid IS NOT NULL AND count(*) = 2 FROM bulkhead.exports WHERE purpose = 'export' AND state = 'completed'",
        Uuid::nil(),
    )
    .await;
    let ended = get(&base, &format!("{}/sent/{form}", begun.path)).await;
    assert_eq!(ended.html.matches("chip completed").count(), 2, "{}", ended.html);

    // Since the last success: its own transaction time, if it had all types that are asked for.
    let since = |html: &str| html.contains("(the first one)");
    let one = post(&base, &begun.path, &[("level", "group"), ("group", "FallonHealth"), ("type", "Patient"), ("since", "last")]).await;
    assert!(!since(&one.html), "{}", one.html);
    let more = post(&base, &begun.path, &[("level", "group"), ("group", "FallonHealth"), ("type", "Condition"), ("since", "last")]).await;
    assert!(since(&more.html), "an export of patients says nothing of conditions");
    assert!(!app.logs().contains(&secret(&app)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_already_is_shown_and_not_made_again() {
    let (mut app, base) = start().await;
    let begun = post(&base, "/new", &[("config", &file(&app))]).await;
    looked(&base, &begun.path).await;
    app.workers[0].kill();
    let send = async |form: &str| {
        post(&base, &format!("{}/send", begun.path), &[("level", "group"), ("group", "FallonHealth"), ("form", form)]).await
    };
    let first = send(&Uuid::new_v4().to_string()).await;
    assert!(first.html.contains("1 export submitted"), "{}", first.html);
    let second = send(&Uuid::new_v4().to_string()).await;
    assert!(second.html.contains("An export of the same is running"), "{}", second.html);
    assert!(app.is("SELECT count(*) = 1 FROM bulkhead.exports WHERE purpose = 'export'").await);
    app.add_worker();
    app.until_sql("SELECT $1::uuid IS NOT NULL AND bool_and(state = 'completed') FROM bulkhead.exports", Uuid::nil()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_told_at_its_field_and_the_key_is_not_shown() {
    let (app, base) = start().await;
    let secret = secret(&app);
    let broken = post(&base, "/new", &[("config", &file(&app)[..200])]).await;
    assert_eq!(broken.status, 422);
    assert!(broken.html.contains("This file cannot be used") && broken.html.contains("line 1"), "{}", broken.html);
    let key = app.credentials().private_jwk.to_string();
    let unescaped = format!("{{\"client_id\": \"me\", \"private_key\": \"{key}\"}}");
    let unescaped = post(&base, "/new", &[("config", &unescaped)]).await;
    assert!(unescaped.status == 422 && unescaped.html.contains("not escaped") && !unescaped.html.contains(&secret), "{}", unescaped.html);

    // The guide's file has no FHIR URL. What it had is kept, and the key with it, sealed.
    let mut guide: serde_json::Value = serde_json::from_str(&file(&app)).expect("JSON");
    guide.as_object_mut().expect("an object").remove("fhir_url");
    let lacking = post(&base, "/new", &[("config", &guide.to_string())]).await;
    assert_eq!(lacking.status, 422);
    assert!(
        lacking.html.contains("id=\"fhir_server_url-wrong\"") && lacking.html.contains("Check the FHIR server URL"),
        "{}",
        lacking.html
    );
    assert!(!lacking.html.contains(&secret), "the key is shown");
    let (token_url, client) = (hidden(&lacking.html, "token_url"), hidden(&lacking.html, "client_id"));
    let url = app.sandbox.base_url();
    let kept = hidden(&lacking.html, "kept");
    let fields = [("kept", kept), ("token_url", token_url), ("client_id", client), ("fhir_server_url", &url)];
    let page = looked(&base, &post(&base, "/new", &fields).await.path).await;
    assert!(page.html.contains("value=\"FallonHealth\"") && !page.html.contains(&secret), "{}", page.html);

    let chosen = [("level", "group"), ("group", "FallonHealth"), ("since", "moment"), ("moment", "yesterday")];
    let undated = post(&base, &page.path, &chosen).await;
    assert!(
        undated.status == 422 && undated.html.contains("Check the date") && undated.html.contains("value=\"yesterday\""),
        "{}",
        undated.html
    );
    assert!(undated.html.contains("value=\"FallonHealth\" checked"), "what was chosen is kept");
    assert!(post(&base, &page.path, &[("level", "group")]).await.html.contains("choose at least one Group"));
    assert!(!app.logs().contains(&secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_and_a_server_that_is_gone_are_told_with_what_to_do() {
    let (app, base) = start().await;
    let mut wrong: serde_json::Value = serde_json::from_str(&file(&app)).expect("JSON");
    wrong["key"] = app.sandbox.register_client().private_jwk;
    let begun = post(&base, "/new", &[("config", &wrong.to_string())]).await;
    let page = looked(&base, &begun.path).await;
    assert!(page.html.contains("Invalid JWT") && page.html.contains("What to do:"), "{}", page.html);
    assert!(!page.html.contains("name=\"group\"") && page.html.contains("Change the credentials"), "{}", page.html);
    let gone = post(&base, "/new", &[("fhir_server_url", "http://127.0.0.1:1/fhir")]).await;
    let page = looked(&base, &gone.path).await;
    assert!(page.html.contains("The server cannot be used like this"), "{}", page.html);
    assert!(app.is("SELECT NOT EXISTS (SELECT FROM bulkhead.exports WHERE purpose = 'export')").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_made_again_with_its_credentials_and_since_its_own_time() {
    let (app, base) = start().await;
    let job = app.export_of("FallonHealth", &["Patient"]).await;
    app.until(job, "completed").await;
    let offered = get(&base, &format!("/new?again={job}")).await;
    assert!(offered.html.contains("Group FallonHealth") && !offered.html.contains(&secret(&app)), "{}", offered.html);
    let begun = post(&base, "/new", &[("again", &job.to_string())]).await;
    let page = looked(&base, &begun.path).await;
    assert!(page.html.contains("value=\"FallonHealth\" checked") && page.html.contains("value=\"Patient\" checked"), "{}", page.html);
    let time: String = sqlx::query_scalar("SELECT transaction_time FROM bulkhead.exports WHERE id = $1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("a time");
    assert!(page.html.contains(&format!("value=\"{}\"", time.replace('+', "&#43;"))) || page.html.contains(&time), "{}", page.html);
}
