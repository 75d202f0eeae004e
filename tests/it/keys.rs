//! Keys of our own: made, published, named in a kick-off, retired; and never seen.

use std::time::Duration;

use bulkhead_api::keys::{self, KeySettings};
use bulkhead_shared::{
    config::{LogSettings, SecretSettings},
    domain::private_key::Algorithm,
};
use bulkhead_tests::{App, SandboxConfig, Setup, app::secret_key};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::setup;

const GROUP: &str = "FallonHealth";

async fn start() -> App {
    let sandbox = SandboxConfig { auth: true, export_time: Duration::ZERO, ..setup().sandbox };
    App::start(Setup { sandbox, ..setup() }).await
}

fn settings(app: &App, algorithm: Algorithm) -> KeySettings {
    KeySettings {
        database_url: Some(app.database.url.clone()),
        secrets: SecretSettings { secret_key: Some(secret_key()), ..SecretSettings::default() },
        log: LogSettings { log_level: "info".to_owned(), log_json: false },
        algorithm,
        out: None,
        list: false,
        retire: None,
    }
}

/// Runs the command; what it prints.
async fn run(settings: &KeySettings) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    keys::run(settings, &mut out, &mut err).await.expect("it works");
    (String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
}

async fn make(app: &App, algorithm: Algorithm) -> Value {
    let (out, _) = run(&settings(app, algorithm)).await;
    let set: Value = serde_json::from_str(&out).expect("a key set and nothing else");
    set["keys"][0].clone()
}

async fn published(app: &App) -> (Option<String>, Value) {
    let answer = bulkhead_tests::app::client().get(format!("{}/.well-known/jwks.json", app.api)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let cached = answer.headers().get("cache-control").and_then(|value| value.to_str().ok()).map(str::to_owned);
    (cached, answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_made_here_signs_for_who_names_it() {
    let app = start().await;
    let made = [make(&app, Algorithm::Es384).await, make(&app, Algorithm::Rs384).await];
    let (cached, set) = published(&app).await;
    assert_eq!(cached.as_deref(), Some("public, max-age=300"));
    assert_eq!(set, json!({ "keys": made }), "what is published is what was printed");
    assert!(!set.to_string().contains("\"d\""));

    for (name, key) in ["kid", "key_id"].into_iter().zip(&made) {
        // As an operator registers it: by the URL that the server fetches.
        let jwks_url = format!("{}/.well-known/jwks.json", app.api);
        let client_id = register(&app, &json!({ "jwks_url": jwks_url })).await;
        let mut body = json!({
            "fhir_server_url": format!("{}/Group/{GROUP}", app.sandbox.base_url()), "resource_types": ["Patient"],
            "client_id": client_id, "jwks_url": jwks_url,
        });
        body[name] = key["kid"].clone();
        let job = app.submit(&body).await;
        app.until(job, "completed").await;
        app.assert_rows_of(job, GROUP, &["Patient"]).await;
    }
    assert_eq!(app.sandbox.stats().tokens_issued, 2, "each signed for itself");
}

async fn register(app: &App, body: &Value) -> Value {
    let url = format!("{}/auth/register", app.sandbox.base_url().trim_end_matches("/fhir"));
    let answer = bulkhead_tests::app::client().post(url).json(body).send().await.expect("an answer");
    answer.json::<Value>().await.expect("JSON")["client_id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_key_is_published_no_longer_and_signs_for_nobody_new() {
    let app = start().await;
    let key = make(&app, Algorithm::Es384).await;
    let kid = key["kid"].as_str().expect("a kid").to_owned();
    let (listed, _) = run(&KeySettings { list: true, ..settings(&app, Algorithm::Es384) }).await;
    assert!(listed.contains(&kid) && listed.contains("in use"), "{listed}");
    run(&KeySettings { retire: Some(kid.clone()), ..settings(&app, Algorithm::Es384) }).await;
    assert_eq!(published(&app).await.1, json!({"keys": []}));

    let mut body = json!({"fhir_server_url": app.sandbox.base_url(), "client_id": "me", "kid": kid});
    for (kid, says) in [(json!(kid), "is retired"), (json!("nobody"), "no key with that kid")] {
        body["kid"] = kid;
        let (code, problem) = app.request(Method::POST, "/api/bulk-data/kick-off", Some(&body), &[]).await;
        assert_eq!(code, 400, "{problem}");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains(says) && detail.contains("bulkhead-api keys")),
            "{problem}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_ours_is_sealed_in_the_database() {
    let app = start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.json");
    let (out, err) = run(&KeySettings { out: Some(path.clone()), ..settings(&app, Algorithm::Rs384) }).await;
    let private: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
    let stored: String = sqlx::query_scalar("SELECT string_agg(k::text || encode(private_key, 'escape'), '') FROM bulkhead.signing_keys k")
        .fetch_one(&app.pool)
        .await
        .expect("a row");
    for member in ["d", "p", "q"] {
        let number = private[member].as_str().expect("a number");
        for (place, text) in [("stdout", &out), ("stderr", &err), ("database", &stored)] {
            assert!(!text.contains(&number[..24]), "{member} is in the {place}");
        }
    }
    assert!(stored.contains(private["kid"].as_str().expect("a kid")));
}
