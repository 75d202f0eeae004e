//! Where tokens come from, and for what: asked of the server where the user does not say.

use std::time::Duration;

use bulkhead_tests::{App, Front, SandboxConfig, Says, Setup};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";

async fn start(auth: bool) -> App {
    let sandbox = SandboxConfig { auth, export_time: Duration::ZERO, ..setup().sandbox };
    App::start(Setup { sandbox, settings: vec![("RETRY_MAX_ATTEMPTS", "3".to_owned())], ..setup() }).await
}

/// An open server behind a front desk that wants tokens, and a kick-off body for it.
async fn start_behind(says: Says) -> (App, Front) {
    let app = start(false).await;
    let front = Front::before(&app.sandbox.base_url(), says).await;
    (app, front)
}

fn body(app: &App, front: &Front, types: &[&str]) -> Value {
    json!({
        "fhir_server_url": format!("{}/Group/{GROUP}", front.base_url), "resource_types": types,
        "client_id": "me", "private_key": app.sandbox.register_client().private_jwk,
    })
}

fn smart(scopes: &[&str], capabilities: &[&str]) -> Value {
    json!({"token_endpoint": "{origin}/auth/token", "scopes_supported": scopes, "capabilities": capabilities})
}

fn statement() -> Value {
    json!({"resourceType": "CapabilityStatement", "rest": [{"security": {"extension": [{
        "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
        "extension": [{"url": "token", "valueUri": "{origin}/auth/token"}],
    }]}}]})
}

fn smart_only(scopes: &[&str], grants: &[&'static str], strict: bool) -> Says {
    let grants = (!grants.is_empty()).then(|| grants.to_vec());
    Says { smart_configuration: Some(smart(scopes, &[])), grants, strict, ..Says::default() }
}

async fn fails(app: &App, body: &Value) -> Value {
    let (code, answer) = app.request(Method::POST, "/api/bulk-data/kick-off", Some(body), &[("prefer", "wait=30")]).await;
    assert_eq!((code, &answer["status"]), (200, &json!("failed")), "{answer:#}\n{}", app.logs());
    let job: Uuid = answer["job_id"].as_str().and_then(|id| id.parse().ok()).expect("a job_id");
    app.status(job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_url_may_be_left_out() {
    let app = start(true).await;
    let mut body = app.body_of(GROUP, &["Patient", "Condition"]);
    body.as_object_mut().expect("an object").retain(|name, _| !["token_url", "algorithm", "use_smart_auth"].contains(&name.as_str()));
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    let kept = format!(
        "SELECT token_endpoint = '{}' AND 'system/*.rs' = ANY(scopes_supported) AND 'permission-v1' = ANY(capabilities)
            AND discovered_at > clock_timestamp() - interval '10 minutes' FROM bulkhead.sources WHERE token_url IS NULL",
        app.credentials().token_url
    );
    assert!(app.is(&kept).await, "what was found is kept");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_not_asked_for_again_the_same_day() {
    let (app, front) = start_behind(smart_only(&["system/*.read"], &[], false)).await;
    let body = body(&app, &front, &["Patient"]);
    for _ in 0..3 {
        let job = app.submit(&body).await;
        app.until(job, "completed").await;
    }
    let well_known = "/fhir/.well-known/smart-configuration";
    assert_eq!((front.count(well_known), front.count("/fhir/metadata"), front.scopes().len()), (1, 0, 1));
    app.sql("UPDATE bulkhead.sources SET discovered_at = discovered_at - interval '1 day'").await;
    // Away for good: what was known yesterday is better than nothing.
    front.say(Says::default());
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    assert_eq!((front.count(well_known), front.scopes().len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_names_its_token_endpoint_in_the_capability_statement() {
    let (app, front) = start_behind(Says { capability_statement: Some(statement()), ..Says::default() }).await;
    let job = app.submit(&body(&app, &front, &["Patient"])).await;
    app.until(job, "completed").await;
    let (header, claims) = front.assertion();
    assert_eq!(claims["aud"], format!("{}/auth/token", front.origin));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("me"), &json!("me")));
    let lifetime = claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time");
    assert!((1..=300).contains(&lifetime), "{claims}");
    assert!(claims["jti"].as_str().is_some_and(|jti| (16..=150).contains(&jti.len())), "{claims}");
    assert_eq!((&header["typ"], &header["alg"], header["kid"].is_string()), (&json!("JWT"), &json!("RS384"), true));
    assert!(header.get("jku").is_none(), "no JWKS URL is registered: {header}");
    assert_eq!(front.scopes(), ["system/*.read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_url_that_was_given_wins() {
    let says = Says {
        smart_configuration: Some(json!({"token_endpoint": "{origin}/nowhere", "scopes_supported": ["system/*.rs"]})),
        ..Says::default()
    };
    let (app, front) = start_behind(says).await;
    let mut body = body(&app, &front, &["Patient"]);
    body["token_url"] = json!(format!("{}/auth/token", front.origin));
    body["jwks_url"] = json!(format!("{}/jwks.json", front.origin));
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    assert_eq!(front.count("/nowhere"), 0);
    assert_eq!(front.scopes(), ["system/*.rs"], "its scopes are taken from what it lists all the same");
    assert_eq!(front.assertion().0["jku"], body["jwks_url"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_url_is_forgotten_when_it_is_left_out() {
    let (app, front) = start_behind(smart_only(&["system/*.read"], &[], false)).await;
    let mut right = body(&app, &front, &["Patient"]);
    let mut wrong = right.clone();
    wrong["token_url"] = json!("http://127.0.0.1:1/token");
    let job = app.submit(&wrong).await;
    assert_eq!(app.operate(job, "cancel").await.0, 200);
    let job = app.submit(&right).await;
    app.until(job, "completed").await;
    // A server without discovery: what was given once will do for who leaves it out.
    front.say(Says::default());
    right["token_url"] = json!(format!("{}/auth/token", front.origin));
    right["client_id"] = json!("another");
    for _ in 0..2 {
        let job = app.submit(&right).await;
        app.until(job, "completed").await;
        right.as_object_mut().expect("an object").remove("token_url");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_fails_with_what_to_do() {
    let (app, front) = start_behind(Says::default()).await;
    let status = fails(&app, &body(&app, &front, &["Patient"])).await;
    assert!(status["error"].as_str().is_some_and(|error| error.contains("where to get access tokens")), "{status:#}");
    assert!(status["remedy"].as_str().is_some_and(|remedy| remedy.contains("token_url")), "{status:#}");
    assert_eq!(status["failure"]["reason"], "credentials");
    assert_eq!(status["events"].as_array().map(|events| events.iter().filter(|event| event["level"] == "warning").count()), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_where_we_must_not_connect_is_refused() {
    for endpoint in ["http://fhir.example.org/token", "https://169.254.169.254/token", "https://me:secret@127.0.0.1/token"] {
        let smart_configuration = Some(json!({ "token_endpoint": endpoint }));
        let (app, front) = start_behind(Says { smart_configuration, ..Says::default() }).await;
        let status = fails(&app, &body(&app, &front, &["Patient"])).await;
        assert_eq!(status["failure"]["reason"], "refused", "{status:#}");
        assert!(!status.to_string().contains("secret"), "{status:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_names_the_token_endpoint_of_another_gets_no_token_for_that() {
    let app = start(true).await;
    app.until(app.export_of(GROUP, &["Patient"]).await, "completed").await;
    let tokens = app.sandbox.stats().tokens_issued;
    let smart_configuration = Some(json!({ "token_endpoint": app.sandbox.token_url() }));
    let front = Front::before(&app.sandbox.base_url(), Says { smart_configuration, ..Says::default() }).await;
    let mut body = app.body_of(GROUP, &["Patient"]);
    body["fhir_server_url"] = json!(format!("{}/Group/{GROUP}", front.base_url));
    body.as_object_mut().expect("an object").remove("token_url");
    let status = fails(&app, &body).await;
    assert_eq!(status["failure"]["reason"], "refused", "{status:#}");
    assert!(status["remedy"].as_str().is_some_and(|remedy| remedy.contains("token_url")), "{status:#}");
    assert_eq!(app.sandbox.stats().tokens_issued, tokens, "a token was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_second_version_only_is_asked_again_in_its_words() {
    let says = Says { capability_statement: Some(statement()), grants: Some(vec!["system/*.rs"]), strict: true, ..Says::default() };
    let (app, front) = start_behind(says).await;
    let job = app.submit(&body(&app, &front, &["Patient"])).await;
    let status = app.until(job, "completed").await;
    assert_eq!(front.scopes(), ["system/*.read", "system/*.rs"]);
    assert_eq!(status["findings"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_wildcard_is_listed_the_types_of_the_exports_are_asked_for() {
    let listed = ["system/Patient.read", "system/Condition.read", "system/Observation.read"];
    let (app, front) = start_behind(smart_only(&listed, &[], false)).await;
    let mut body = body(&app, &front, &["Patient"]);
    let first = app.submit(&body).await;
    app.until(first, "completed").await;
    // Of the same source, whose token is the same: the new one is for both.
    body["resource_types"] = json!(["Condition"]);
    let second = app.submit(&body).await;
    let status = app.until(second, "completed").await;
    assert_eq!(front.scopes(), ["system/Patient.read", "system/Condition.read system/Patient.read"]);
    assert_eq!(status["findings"], json!([]));
    body["resource_types"] = json!(["Patient", "Condition"]);
    let third = app.submit(&body).await;
    app.until(third, "completed").await;
    assert_eq!(front.scopes().len(), 2, "one token for all of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_was_asked_for_by_name_and_not_granted_makes_the_export_incomplete() {
    let (app, front) = start_behind(smart_only(&["system/Patient.read"], &["system/Patient.read"], true)).await;
    let job = app.submit(&body(&app, &front, &["Patient", "Condition"])).await;
    let status = app.until(job, "failed").await;
    assert_eq!(front.scopes(), ["system/Condition.read system/Patient.read", "system/Patient.read"], "the list need not be complete");
    assert_eq!(status["failure"]["reason"], "incomplete", "{status:#}");
    let finding = &status["findings"][0];
    assert_eq!((&finding["kind"], &finding["severity"], &finding["type"]), (&json!("narrower_scope"), &json!("error"), &Value::Null));
    assert_eq!(finding["resource_type"], "Condition");
    assert!(status["events"].to_string().contains("Condition was asked for by name"), "its story warned before: {status:#}");
    assert_eq!(app.operate(job, "accept").await.0, 200);
    app.until(job, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrower_grant_for_all_types_is_a_warning() {
    let (app, front) = start_behind(smart_only(&["system/*.read"], &["system/Patient.read"], false)).await;
    let mut body = body(&app, &front, &[]);
    body.as_object_mut().expect("an object").remove("resource_types");
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    let finding = &status["findings"][0];
    assert_eq!((&finding["kind"], &finding["severity"]), (&json!("narrower_scope"), &json!("warning")), "{status:#}");
    assert!(finding["message"].as_str().is_some_and(|message| message.contains("system/Patient.read")), "{finding}");
}

/// The sandbox checks what the front desk does not: signatures, and scopes at every request.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_tells_little_and_checks_all_is_served() {
    let sandbox = SandboxConfig {
        auth: true,
        export_time: Duration::ZERO,
        switches: "no-discovery permission=v2 enforce-scopes clock=-10m".to_owned(),
        ..setup().sandbox
    };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    app.sandbox.fault("token:expires-in-string");
    let mut body = app.body_of(GROUP, &["Patient", "Condition"]);
    body.as_object_mut().expect("an object").remove("token_url");
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    assert_eq!(status["findings"], json!([]), "{status:#}");
    assert!(app.is("SELECT scope = 'system/*.rs' AND asked = 'system/*.read' FROM bulkhead.access_tokens").await);
    assert_eq!(app.sandbox.stats().kick_offs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_say_what_it_granted_is_believed() {
    let app = start(true).await;
    app.sandbox.fault("token:no-scope");
    let job = app.export_of(GROUP, &["Patient"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]), "{status:#}");
}
