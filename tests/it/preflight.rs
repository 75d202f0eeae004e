//! A check tries what an export would need, tells each step in words, and starts no export.

use std::time::Duration;

use bulkhead_tests::{App, Front, SandboxConfig, Says, Setup};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";
const CHECK: &str = "/api/bulk-data/check";

async fn start(auth: bool) -> App {
    let sandbox = SandboxConfig { auth, export_time: Duration::ZERO, ..setup().sandbox };
    App::start(Setup { sandbox, ..setup() }).await
}

/// A check that is waited for.
async fn check(app: &App, body: &Value) -> Value {
    let (code, answer) = app.request(Method::POST, CHECK, Some(body), &[("prefer", "wait=60")]).await;
    assert_eq!((code, &answer["status"]), (200, &json!("done")), "{answer:#}\n{}", app.logs());
    answer
}

/// step -> result, in order.
fn results(answer: &Value) -> Vec<(&str, &str)> {
    let steps = answer["steps"].as_array().expect("steps");
    steps.iter().map(|step| (step["step"].as_str().unwrap_or_default(), step["result"].as_str().unwrap_or_default())).collect()
}

fn step<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["steps"].as_array().expect("steps").iter().find(|step| step["step"] == name).expect("the step")
}

const ALL_WELL: [(&str, &str); 6] =
    [("discovery", "ok"), ("token", "ok"), ("scopes", "ok"), ("capabilities", "ok"), ("group", "ok"), ("groups", "ok")];

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_and_nothing_was_started() {
    let app = start(true).await;
    let mut body = app.body_of(GROUP, &["Patient"]);
    body.as_object_mut().expect("an object").remove("token_url");
    let answer = check(&app, &body).await;
    assert_eq!(results(&answer), ALL_WELL, "{answer:#}");
    assert_eq!(answer["result"], "ok");
    assert!(answer["steps"].as_array().expect("steps").iter().all(|step| step["message"].as_str().is_some_and(|said| said.ends_with('.'))));
    let groups = answer["groups"].as_array().expect("Groups");
    let ours = groups.iter().find(|group| group["id"] == GROUP).expect("the Group");
    assert_eq!(groups.len(), 8, "{answer:#}");
    let members = app.sandbox.expected(Some(GROUP))["Patient"];
    assert!(ours["name"].is_string() && ours["members"] == members, "{ours}");
    assert!(step(&answer, "group")["message"].as_str().is_some_and(|said| said.contains(&format!("{members} members"))), "{answer:#}");

    let stats = app.sandbox.stats();
    assert_eq!((stats.kick_offs, stats.tokens_issued), (0, 1));
    app.assert_nothing_left().await;
    // It is no export: nobody sees it among them.
    let id = answer["check_id"].as_str().expect("an id").to_owned();
    assert_eq!(app.request(Method::GET, "/api/bulk-data/jobs", None, &[]).await.1["jobs"], json!([]));
    assert_eq!(app.request(Method::GET, &format!("/api/bulk-data/status/{id}"), None, &[]).await.0, 404);
    assert_eq!(app.operate(id.parse().expect("a UUID"), "cancel").await.0, 404);
    assert!(app.is("SELECT NOT EXISTS (SELECT FROM bulkhead.completed_exports)").await);
    // And an export of the same goes its own way.
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    let job = job.to_string();
    assert_eq!(app.request(Method::GET, &format!("{CHECK}/{job}"), None, &[]).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_asked_for_later() {
    let app = start(false).await;
    let (code, answer) = app.request(Method::POST, CHECK, Some(&app.body(GROUP)), &[]).await;
    assert_eq!(code, 202, "{answer:#}");
    let path = answer["status_url"].as_str().expect("a URL").to_owned();
    let (code, answer) = app.request(Method::GET, &path, None, &[("prefer", "wait=60")]).await;
    assert_eq!((code, &answer["status"]), (200, &json!("done")), "{answer:#}");
    let skipped = [("discovery", "skipped"), ("token", "skipped"), ("scopes", "skipped")];
    assert_eq!(results(&answer)[..3], skipped, "an open server wants no token");
    assert_eq!(results(&answer)[3..], ALL_WELL[3..]);
    assert_eq!(app.request(Method::GET, &format!("{CHECK}/{}", Uuid::new_v4()), None, &[]).await.0, 404);
    assert_eq!(app.request(Method::POST, CHECK, Some(&json!({})), &[]).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_what_to_do() {
    let app = start(true).await;
    let mut other_key = app.body(GROUP);
    other_key["private_key"] = app.sandbox.register_client().private_jwk;
    let answer = check(&app, &other_key).await;
    let none = [("scopes", "skipped"), ("capabilities", "ok"), ("group", "skipped"), ("groups", "skipped")];
    assert_eq!(results(&answer), [&[("discovery", "ok"), ("token", "failed")][..], &none].concat(), "{answer:#}");
    assert_eq!(answer["result"], "failed");
    let token = step(&answer, "token");
    assert!(token["message"].as_str().is_some_and(|said| said.contains("Invalid JWT")), "{token}");
    assert!(token["remedy"].as_str().is_some_and(|remedy| remedy.contains("client_id")), "{token}");

    let mut no_such_group = app.body("Nobody");
    no_such_group["resource_types"] = json!(["Patient"]);
    let answer = check(&app, &no_such_group).await;
    assert_eq!((results(&answer)[4], results(&answer)[5]), (("group", "failed"), ("groups", "ok")), "{answer:#}");
    assert!(step(&answer, "group")["remedy"].as_str().is_some_and(|remedy| remedy.contains("id")), "{answer:#}");

    let mut not_fhir = app.body(GROUP);
    not_fhir["fhir_server_url"] = json!(format!("{}/elsewhere/Group/{GROUP}", app.sandbox.base_url()));
    not_fhir.as_object_mut().expect("an object").remove("token_url");
    let answer = check(&app, &not_fhir).await;
    assert_eq!(results(&answer)[0], ("discovery", "failed"), "{answer:#}");
    assert!(results(&answer).contains(&("capabilities", "failed")), "{answer:#}");

    // A server that is not there is a result too, and a quick one.
    let gone = json!({"fhir_server_url": "http://127.0.0.1:1/fhir/Group/1"});
    let answer = check(&app, &gone).await;
    let failing = [("capabilities", "failed"), ("group", "failed"), ("groups", "warning")];
    assert_eq!(results(&answer)[3..], failing, "{answer:#}");
    assert_eq!(app.sandbox.stats().kick_offs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_a_token_url_that_differ_are_told() {
    let app = start(false).await;
    let smart = json!({"token_endpoint": "{origin}/auth/token", "scopes_supported": ["system/Patient.rs"]});
    let statement = json!({"resourceType": "CapabilityStatement", "fhirVersion": "3.0.2", "rest": []});
    let says = Says {
        smart_configuration: Some(smart),
        capability_statement: Some(statement),
        grants: Some(vec!["system/Patient.rs"]),
        ..Says::default()
    };
    let front = Front::before(&app.sandbox.base_url(), says).await;
    let key = app.sandbox.register_client().private_jwk;
    let mut body = json!({
        "fhir_server_url": format!("{}/Group/{GROUP}", front.base_url), "resource_types": ["Patient", "Condition"],
        "client_id": "me", "private_key": key,
    });
    let answer = check(&app, &body).await;
    assert_eq!(
        results(&answer)[..4],
        [("discovery", "ok"), ("token", "ok"), ("scopes", "failed"), ("capabilities", "warning")],
        "{answer:#}"
    );
    assert!(step(&answer, "scopes")["message"].as_str().is_some_and(|said| said.contains("Condition")), "{answer:#}");
    assert!(!answer.to_string().contains("token-for"), "the token is told: {answer:#}");

    body["token_url"] = json!(format!("{}/auth/token?x=1", front.origin));
    body["resource_types"] = json!([]);
    let answer = check(&app, &body).await;
    assert_eq!(results(&answer)[..3], [("discovery", "warning"), ("token", "ok"), ("scopes", "warning")], "{answer:#}");
    assert_eq!(answer["result"], "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_groups_that_never_ends_is_left() {
    let app = start(false).await;
    let page = json!({
        "resourceType": "Bundle", "link": [{"relation": "next", "url": "{origin}/fhir/Group?page=next"}],
        "entry": [{"resource": {"resourceType": "Group", "id": "1", "name": "One\u{0}"}}, {"resource": {"resourceType": "Patient", "id": "2"}}],
    });
    let front = Front::before(&app.sandbox.base_url(), Says { groups: Some(page), ..Says::default() }).await;
    let answer = check(&app, &json!({ "fhir_server_url": front.base_url })).await;
    assert_eq!(front.count("/fhir/Group"), 5, "five pages and no more");
    assert_eq!((answer["groups"].as_array().map(Vec::len), &answer["more_groups"]), (Some(5), &json!(true)), "{answer:#}");
    assert_eq!(results(&answer)[3..], [("capabilities", "failed"), ("group", "skipped"), ("groups", "ok")], "{answer:#}");
}

/// The contract of stages: killed between its work and its finish, it comes to the same result.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_whose_worker_is_killed_is_made_by_another() {
    const GATE: i64 = 4712;
    let mut app = start(true).await;
    app.sql(&format!(
        "CREATE FUNCTION public.when_done() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$;
         CREATE TRIGGER when_done BEFORE UPDATE ON bulkhead.stages FOR EACH ROW
         WHEN (OLD.state = 'running' AND NEW.state = 'done') EXECUTE FUNCTION public.when_done()"
    ))
    .await;
    let mut gate = PgConnection::connect(&app.database.url).await.expect("a connection");
    sqlx::query("SELECT pg_advisory_lock($1)").bind(GATE).execute(&mut gate).await.expect("a lock");
    let (_, answer) = app.request(Method::POST, CHECK, Some(&app.body(GROUP)), &[]).await;
    let path = answer["status_url"].as_str().expect("a URL").to_owned();
    app.until_sql(
        "SELECT $1::uuid IS NOT NULL AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4712
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
        Uuid::nil(),
    )
    .await;
    app.workers[0].kill();
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(GATE).execute(&mut gate).await.expect("the lock");
    app.add_worker();
    let (_, answer) = app.request(Method::GET, &path, None, &[("prefer", "wait=60")]).await;
    assert_eq!((&answer["status"], results(&answer)), (&json!("done"), ALL_WELL.to_vec()), "{answer:#}\n{}", app.logs());
    assert!(app.is("SELECT runs = 2 AND state = 'done' FROM bulkhead.stages WHERE kind = 'check'").await);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_checks_are_removed() {
    let app = start(false).await;
    let id = check(&app, &app.body(GROUP)).await["check_id"].as_str().expect("an id").to_owned();
    let new = check(&app, &app.body(GROUP)).await["check_id"].as_str().expect("an id").to_owned();
    app.sql(&format!("UPDATE bulkhead.exports SET created_at = created_at - interval '8 days' WHERE id = '{id}'")).await;
    bulkhead_shared::queue::purge(&app.pool).await.expect("the purge");
    let codes = [
        app.request(Method::GET, &format!("{CHECK}/{id}"), None, &[]).await.0,
        app.request(Method::GET, &format!("{CHECK}/{new}"), None, &[]).await.0,
    ];
    assert_eq!(codes, [404, 200]);
}
