//! The guide's section on trouble: each of its texts is provoked, stands in `error` where the guide looks for it, comes with its remedy,
//! and the remedy helps.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use bulkhead_tests::{App, SandboxConfig, Setup};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";
const KICK_OFF: &str = "/api/bulk-data/kick-off";

async fn start(auth: bool, settings: &[(&'static str, &str)]) -> App {
    start_with(SandboxConfig { auth, ..setup().sandbox }, settings).await
}

async fn start_with(sandbox: SandboxConfig, settings: &[(&'static str, &str)]) -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, ..sandbox };
    let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let few = [("RETRY_MAX_ATTEMPTS", "2".to_owned()), ("RETRY_BASE_DELAY", "0.05".to_owned()), ("RETRY_MAX_DELAY", "0.1".to_owned())];
    let settings = settings.chain(few).collect();
    let app = App::start(Setup { sandbox, settings, ..setup() }).await;
    // The worker gives its stages two attempts; the first stage has the API's twenty.
    app.sql(
        "CREATE FUNCTION public.few_attempts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.max_attempts := 2; RETURN NEW; END $$;
         CREATE TRIGGER few_attempts BEFORE INSERT ON bulkhead.stages FOR EACH ROW WHEN (NEW.kind = 'auth') EXECUTE FUNCTION public.few_attempts()",
    )
    .await;
    app
}

/// The export fails; the guide's text and its remedy are in the status, and the list and the story say the same.
async fn fails(app: &App, job: Uuid, text: &str, remedy: &[&str], reason: &str) -> Value {
    let status = app.until(job, "failed").await;
    let error = status["error"].as_str().expect("an error");
    assert!(error.contains(text), "{text}: {status:#}");
    let told = status["remedy"].as_str().expect("a remedy");
    for words in remedy {
        assert!(told.contains(words), "{words:?} is not in the remedy: {status:#}");
    }
    assert_eq!(status["failure"]["reason"], reason, "{status:#}");
    let (_, page) = app.request(Method::GET, &format!("/api/bulk-data/jobs?reason={reason}"), None, &[]).await;
    let listed = page["jobs"].as_array().expect("jobs").iter().find(|listed| listed["job_id"] == json!(job));
    assert_eq!(listed.expect("it is listed")["error"], status["error"]);
    let story = status["events"].as_array().expect("a story");
    assert!(story.iter().any(|event| event["message"].as_str().is_some_and(|message| message.contains(text))), "{status:#}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_jwt_names_what_to_check_and_the_right_credentials_help() {
    let app = start(true, &[]).await;
    let remedy = ["client_id", "private key", "token_url"];
    let good = app.body_of(GROUP, &["Patient"]);
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let text = "SMART authentication failed: Invalid JWT";
    for body in [with("client_id", json!("not-my-client")), with("private_key", app.sandbox.register_client().private_jwk)] {
        // The guide's script reads it from the status; the kick-off's answer has it already.
        let (code, answer) = app.request(Method::POST, KICK_OFF, Some(&body), &[("prefer", "wait=30")]).await;
        assert_eq!((code, &answer["status"]), (200, &json!("failed")), "{answer:#}");
        let job = answer["job_id"].as_str().and_then(|id| id.parse().ok()).expect("a job_id");
        let status = fails(&app, job, text, &remedy, "credentials").await;
        assert_eq!((&answer["error"], &answer["remedy"]), (&status["error"], &status["remedy"]));
    }
    // A token URL where no tokens are: the server has no words of its own.
    let job = app.submit(&with("token_url", json!(app.sandbox.token_url().replace("token", "elsewhere")))).await;
    fails(&app, job, "SMART authentication failed: HTTP 404", &remedy, "credentials").await;
    // A key that is none is seen before anybody is asked.
    for (key, words) in [(json!("not a key"), "private_key"), (json!({"kty": "RSA", "n": "AQAB"}), "no private key")] {
        let (code, problem) = app.request(Method::POST, KICK_OFF, Some(&with("private_key", key)), &[]).await;
        assert_eq!(code, 400, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{problem}");
    }
    let job = app.submit(&good).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient"]).await;
    app.assert_nothing_left().await;
}

/// The token endpoint of a server whose configurations expire, and what it says then.
async fn expired_configuration(says: (StatusCode, Value)) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}/auth/token", listener.local_addr().expect("an address"));
    let answer = async |State((status, body)): State<(StatusCode, Value)>| (status, Json(body));
    let router = Router::new().route("/auth/token", post(answer)).with_state(says);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_configuration_of_the_smart_page_says_so_and_a_new_one_helps() {
    let app = start(true, &[]).await;
    // As SMART's server words it, by its published source.
    for (status, error, description) in [
        (StatusCode::UNAUTHORIZED, "invalid_client", "Registration token expired"),
        (StatusCode::UNAUTHORIZED, "invalid_client", "Invalid client details token: jwt expired"),
        (StatusCode::BAD_REQUEST, "invalid_request", "Invalid client details token: jwt expired"),
    ] {
        let mut body = app.body_of(GROUP, &["Patient"]);
        body["token_url"] = json!(expired_configuration((status, json!({"error": error, "error_description": description}))).await);
        let job = app.submit(&body).await;
        let text = "SMART authentication failed: Invalid JWT";
        let status = fails(&app, job, text, &["a configuration of the SMART page expires: make a new one"], "credentials").await;
        let error = status["error"].as_str().expect("an error");
        assert!(error.contains(description), "the server's own words: {error}");
    }
    // A new configuration is another source, not the old one again.
    let renewed = app.export_of(GROUP, &["Patient"]).await;
    app.until(renewed, "completed").await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_exceeded_names_the_setting_and_raising_it_helps() {
    let mut app = start(true, &[("HTTP_TIMEOUT_READ", "0.5")]).await;
    let remedy = ["HTTP_TIMEOUT_READ=600", "network", "fewer resource types"];
    // Whatever is asked: a token, the kick-off, the status.
    for fault in ["token:hold*always", "kick-off:hold*always", "status:hold*always"] {
        app.sandbox.fault(fault);
        let job = app.export_of(GROUP, &["Patient"]).await;
        fails(&app, job, "Timeout exceeded", &remedy, "unreachable").await;
        app.sandbox.clear_faults();
        app.sandbox.release();
        app.operate(job, "cancel").await;
    }
    // A server that is slow, always.
    app.sandbox.fault("status:delay=2s*always");
    let job = app.export_of(GROUP, &["Patient"]).await;
    fails(&app, job, "Timeout exceeded", &remedy, "unreachable").await;
    app.workers[0].terminate().await;
    app.add_worker_with(&[("HTTP_TIMEOUT_READ", "")]);
    let (code, answer) = app.request(Method::POST, "/api/bulk-data/retry", Some(&json!({"reason": "unreachable"})), &[]).await;
    assert_eq!((code, &answer["retried"]), (200, &json!(1)), "{answer:#}");
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_files_asks_for_less_and_asking_for_less_helps() {
    // Without search, which would take the place of the export.
    let app = start_with(SandboxConfig { switches: "no-search".to_owned(), ..setup().sandbox }, &[]).await;
    // One type: nothing smaller can be asked for without its user.
    for fault in ["kick-off:too-many-files*always", "status:too-many-files*always"] {
        app.sandbox.fault(fault);
        let job = app.export_of(GROUP, &["Observation"]).await;
        fails(&app, job, "Bulk export reported error: Too many files", &["fewer resource types", "since"], "too_many_files").await;
        app.sandbox.clear_faults();
    }
    let mut less = app.body_of(GROUP, &["Observation"]);
    less["since"] = json!("2000-01-01T00:00:00Z");
    let job = app.submit(&less).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    app.assert_nothing_left().await;
}
