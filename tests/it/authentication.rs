//! SMART Backend Services and bearer tokens: every form of a key works, a refusal says what to do, and secrets are nowhere in clear.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_shared::{
    db::access_tokens,
    domain::private_key::{PrivateKey, Wanted},
    secrets::Cipher,
};
use bulkhead_tests::{App, SandboxConfig, Setup, app::secret_key};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";

async fn start() -> App {
    start_with(SandboxConfig { export_time: Duration::ZERO, ..setup().sandbox }, "info,bulkhead_worker=debug").await
}

async fn start_with(sandbox: SandboxConfig, log_level: &str) -> App {
    let sandbox = SandboxConfig { auth: true, ..sandbox };
    App::start(Setup { sandbox, settings: vec![("LOG_LEVEL", log_level.to_owned())], ..setup() }).await
}

/// The access token that the workers use now.
async fn access_token(app: &App, job: Uuid) -> String {
    let source: Uuid = sqlx::query_scalar("SELECT source_id FROM bulkhead.exports WHERE id = $1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("the export");
    let cipher = Cipher::from_base64(&secret_key()).expect("a key");
    access_tokens::current(&app.pool, &cipher, source).await.expect("the row").expect("a token").token
}

/// A kick-off that must fail while it is waited for, and its status that says the same.
async fn refused(app: &App, body: &Value) -> Value {
    let (code, answer) = app.request(Method::POST, "/api/bulk-data/kick-off", Some(body), &[("prefer", "wait=30")]).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["status"], "failed", "the answer says so already: {answer:#}");
    let job = answer["job_id"].as_str().and_then(|id| id.parse().ok()).expect("a job_id");
    let status = app.status(job).await;
    for field in ["error", "remedy", "status"] {
        assert!(answer[field].is_string(), "{answer:#}");
        assert_eq!(answer[field], status[field]);
    }
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 0);
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_wrong_client_id_fail_in_the_guides_words() {
    let app = start().await;
    let mut other_key = app.body_of(GROUP, &["Patient"]);
    other_key["private_key"] = app.sandbox.register_client().private_jwk;
    // The right name on the wrong key: only its signature tells.
    let mut forged = app.body_of(GROUP, &["Patient"]);
    forged["private_key"] = app.sandbox.register_client().private_jwk;
    forged["private_key"]["kid"] = app.credentials().private_jwk["kid"].clone();
    let mut other_client = app.body_of(GROUP, &["Patient"]);
    other_client["client_id"] = json!("nobody");
    for body in [other_key, forged, other_client] {
        let status = refused(&app, &body).await;
        assert!(status["error"].as_str().is_some_and(|e| e.contains("SMART authentication failed: Invalid JWT")), "{status:#}");
        assert!(status["remedy"].as_str().is_some_and(|r| r.contains("client_id") && r.contains("expires")), "{status:#}");
        assert_eq!((&status["failure"]["reason"], &status["failure"]["stage"]), (&json!("credentials"), &json!("auth")));
    }
    assert_eq!(app.sandbox.stats().token_refusals, 3, "a refusal is final: it is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_minted_when_the_old_one_expires_during_the_export() {
    let sandbox = SandboxConfig { token_lifetime: Duration::from_secs(2), export_time: Duration::from_secs(3), ..setup().sandbox };
    let app = start_with(sandbox, "info").await;
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert!(stats.tokens_issued >= 2, "{stats:?}");
    assert_eq!((stats.unauthorized, stats.kick_offs), (0, 1), "minted before it expired, not after");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_key_signs() {
    let app = start().await;
    let credentials = app.credentials();
    let jwk = &credentials.private_jwk;
    let mut public = jwk.clone();
    public.as_object_mut().expect("an object").retain(|name, _| ["kty", "alg", "kid", "n", "e"].contains(&name.as_str()));
    let forms = [
        ("JWK object", jwk.clone()),
        ("JWK string", json!(jwk.to_string())),
        ("PEM", json!(credentials.private_pem)),
        ("PEM with written line ends", json!(credentials.private_pem.replace('\n', "\\n"))),
        ("JWKS", json!({"keys": [public, jwk]})),
        ("JWKS string", json!(json!({"keys": [jwk]}).to_string())),
    ];
    let mut jobs = Vec::new();
    for (n, (form, key)) in forms.into_iter().enumerate() {
        let mut body = app.body_of(GROUP, &["Patient"]);
        body["private_key"] = key;
        // Another request each time, or it would wait for the one before; and another client, or it would use its token.
        body["since"] = json!(format!("20{n:02}-01-01T00:00:00Z"));
        let jwks = json!({"keys": [jwk]});
        body["client_id"] = json!(app.sandbox.register_jwks(jwks));
        jobs.push((form, app.submit(&body).await));
    }
    for (form, job) in &jobs {
        app.until(*job, "completed").await;
        assert_eq!(app.status(*job).await["records_loaded"], app.sandbox.expected(Some(GROUP))["Patient"], "{form}");
    }
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().tokens_issued, 6, "each signed for itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_an_ec_key_signs() {
    let app = start().await;
    // Made by OpenSSL, for these tests only.
    let pkcs8 = include_str!("../../deploy/sandbox/tests/it/es384-test-only.pem");
    let key = PrivateKey::from_text(pkcs8, Wanted::default()).expect("a key");
    let (public, private) = (key.public_jwk().expect("a JWK"), key.private_jwk().expect("a JWK"));
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\n\
        MIGkAgEBBDCITNoUvLHU8oNJr/98Adhr486mFaXdG5Fh/I2LDGzMNdBEYhpPRfOQ\n\
        GsmEffmazI2gBwYFK4EEACKhZANiAARNf3nOmldu1qmib0A3vM6x/kGT+2MrkIoL\n\
        lP+hncGX7H1UVxR7BaVZZCfzGjfEVtkRsuMbOilt7q/jc+Z2SYV379UdqASVLPG7\n\
        LODJLvCb2sjOyBa380i1Np2w8BmChMs=\n\
        -----END EC PRIVATE KEY-----\n";
    let forms = [
        ("JWK object", private.clone()),
        ("JWK string", json!(private.to_string())),
        ("JWKS", json!({"keys": [public, app.credentials().private_jwk.get("n"), private]})),
        ("PEM, PKCS#8", json!(pkcs8)),
        ("PEM, SEC1", json!(sec1)),
    ];
    let mut jobs = Vec::new();
    for (form, key) in forms {
        let mut body = app.body_of(GROUP, &["Patient"]);
        body["private_key"] = key;
        body["algorithm"] = json!("ES384");
        body["client_id"] = json!(app.sandbox.register_jwks(json!({"keys": [public]})));
        jobs.push((form, app.submit(&body).await));
    }
    for (form, job) in &jobs {
        let status = app.until(*job, "completed").await;
        assert_eq!(status["records_loaded"], app.sandbox.expected(Some(GROUP))["Patient"], "{form}");
    }
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().tokens_issued, 5, "each signed for itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_token_works_and_a_wrong_one_is_refused() {
    let app = start().await;
    let first = app.export_of(GROUP, &["Patient"]).await;
    app.until(first, "completed").await;
    let token = access_token(&app, first).await;
    let mut body = json!({
        "fhir_server_url": format!("{}/Group/{GROUP}", app.sandbox.base_url()), "resource_types": ["Patient"], "bearer_token": token,
    });
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient"]).await;
    assert_eq!(app.sandbox.stats().tokens_issued, 1);

    body["bearer_token"] = json!("wrong-token");
    let (code, answer) = app.request(Method::POST, "/api/bulk-data/kick-off", Some(&body), &[("prefer", "wait=30")]).await;
    assert_eq!((code, &answer["status"]), (200, &json!("failed")), "{answer:#}");
    let job = answer["job_id"].as_str().and_then(|id| id.parse().ok()).expect("a job_id");
    let status = app.status(job).await;
    assert_eq!(status["failure"]["reason"], "credentials", "{status:#}");
    assert!(!status.to_string().contains("wrong-token"), "{status:#}");
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 2);
}

/// Every row of every table of ours and of the delivery, as text.
async fn dump(app: &App) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('bulkhead', 'apalis') ORDER BY 1",
    )
    .fetch_all(&app.pool)
    .await
    .expect("a catalogue");
    assert!(tables.len() > 10, "{tables:?}");
    let mut all = String::new();
    for table in tables {
        let rows: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT string_agg(t::text, E'\\n') FROM {table} t")))
            .fetch_one(&app.pool)
            .await
            .expect("a table");
        all.push_str(&rows.unwrap_or_default());
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_nowhere_in_clear() {
    let app = start_with(SandboxConfig { export_time: Duration::ZERO, ..setup().sandbox }, "trace").await;
    // Attempts, refusals and stories as well: whatever can be written is.
    app.sandbox.fault("file:unauthorized");
    app.sandbox.fault("kick-off:status=503");
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    app.until(job, "completed").await;
    let token = access_token(&app, job).await;
    let bearer = "a-bearer-token-that-nobody-must-see";
    let mut body = json!({ "fhir_server_url": format!("{}/Group/{GROUP}", app.sandbox.base_url()), "bearer_token": bearer });
    let refused = app.submit(&body).await;
    app.until(refused, "failed").await;
    body["bearer_token"] = json!(token);
    let by_token = app.submit(&body).await;
    app.until(by_token, "completed").await;
    app.assert_nothing_left().await;

    let mut told = app.logs();
    assert!(told.contains("minting a new one"), "the logs are not the workers'");
    for job in [job, refused, by_token] {
        told.push_str(&app.status(job).await.to_string());
    }
    told.push_str(&app.request(Method::GET, "/api/bulk-data/jobs", None, &[]).await.1.to_string());
    let stored = dump(&app).await;
    assert!(stored.contains(&job.to_string()), "the dump is not of this database");

    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        ("the access token", token.as_bytes()[..16].to_vec()),
        ("the bearer token", bearer.as_bytes().to_vec()),
        ("the key that seals them", secret_key().into_bytes()),
        ("an assertion", b"eyJ0eXAiOiJKV1Qi".to_vec()),
    ];
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        let text = app.credentials().private_jwk[member].as_str().expect("a number");
        secrets.push((member, text.as_bytes()[..24].to_vec()));
        secrets.push((member, URL_SAFE_NO_PAD.decode(text).expect("base64url")[..16].to_vec()));
    }
    for (name, secret) in secrets {
        // A column of bytes is shown in hexadecimal.
        let hex = hex(&secret);
        let text = String::from_utf8(secret).ok();
        for (place, text_there) in [("log or answer", &told), ("database", &stored)] {
            assert!(!text_there.contains(&hex), "{name} is in a {place}, as bytes");
            assert!(text.as_ref().is_none_or(|text| !text_there.contains(text.as_str())), "{name} is in a {place}");
        }
    }
}
