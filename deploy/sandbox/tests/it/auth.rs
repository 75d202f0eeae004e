use std::time::Duration;

use bulkhead_sandbox::{ClientCredentials, Sandbox, SandboxConfig};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

use crate::harness::{get, http, json, kick_off, quick, start};

const ES384_PEM: &[u8] = include_bytes!("es384-test-only.pem");

fn guarded() -> SandboxConfig {
    SandboxConfig { auth: true, ..quick() }
}

fn claims(client: &str, audience: &str, jti: &str) -> Value {
    json!({"iss": client, "sub": client, "aud": audience, "exp": get_current_timestamp() + 240, "jti": jti})
}

fn sign(algorithm: Algorithm, kid: &str, claims: &Value, key: &EncodingKey) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

async fn ask(sandbox: &Sandbox, assertion: &str) -> (u16, Value) {
    ask_for(sandbox, assertion, "system/*.read").await
}

async fn ask_for(sandbox: &Sandbox, assertion: &str, scope: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", scope),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
    ];
    let response = http().post(sandbox.token_url()).form(&form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn kick_off_with(sandbox: &Sandbox, token: &str) -> u16 {
    let response = kick_off(sandbox, "Patient/$export").bearer_auth(token).send().await.unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn gives_a_token_for_a_signed_assertion_and_takes_it() {
    let sandbox = start(guarded());
    let client = sandbox.register_client();
    let key = EncodingKey::from_rsa_pem(client.private_pem.as_bytes()).unwrap();
    let kid = client.private_jwk["kid"].as_str().unwrap();
    let sign = |jti| sign(Algorithm::RS384, kid, &claims(&client.client_id, &client.token_url, jti), &key);

    let assertion = sign("one");
    let (status, answer) = ask(&sandbox, &assertion).await;
    assert_eq!((status, &answer["token_type"], &answer["expires_in"]), (200, &json!("bearer"), &json!(300)));
    assert_eq!(kick_off_with(&sandbox, answer["access_token"].as_str().unwrap()).await, 202);
    assert_eq!(kick_off_with(&sandbox, "made-up").await, 401);

    let (status, answer) = ask(&sandbox, &assertion).await;
    assert_eq!(status, 401, "an assertion is good once");
    assert!(answer["error_description"].as_str().unwrap().contains("jti"));
    let counts = sandbox.stats();
    assert_eq!((counts.tokens_issued, counts.token_refusals, counts.unauthorized), (1, 1, 1));
}

#[tokio::test]
async fn takes_an_es384_key_too() {
    let sandbox = start(guarded());
    let key = EncodingKey::from_ec_pem(ES384_PEM).unwrap();
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES384).unwrap()).unwrap();
    jwk["kid"] = json!("es");
    let client = sandbox.register_jwks(json!({"keys": [jwk]}));
    let assertion = sign(Algorithm::ES384, "es", &claims(&client, &sandbox.token_url(), "one"), &key);
    assert_eq!(ask(&sandbox, &assertion).await.0, 200);
}

#[tokio::test]
async fn refuses_wrong_assertions_and_says_why() {
    let sandbox = start(guarded());
    let (client, other) = (sandbox.register_client(), sandbox.register_client());
    let kid = client.private_jwk["kid"].as_str().unwrap();
    let key = EncodingKey::from_rsa_pem(client.private_pem.as_bytes()).unwrap();
    let stolen = EncodingKey::from_rsa_pem(other.private_pem.as_bytes()).unwrap();
    let fine = |jti: &str| claims(&client.client_id, &client.token_url, jti);
    let changed = |name: &str, value: Value| {
        let mut claims = fine(name);
        claims[name] = value;
        claims
    };
    for (claims, key, says) in [
        (fine("a"), &stolen, "Invalid JWT: InvalidSignature"),
        (changed("aud", json!("http://elsewhere/token")), &key, "InvalidAudience"),
        (changed("exp", json!(get_current_timestamp() + 900)), &key, "five minutes"),
        (changed("exp", json!(get_current_timestamp() - 60)), &key, "ExpiredSignature"),
        (changed("sub", json!("somebody")), &key, "iss and sub"),
        (changed("iss", json!("nobody")), &key, "no client nobody"),
    ] {
        let (status, answer) = ask(&sandbox, &sign(Algorithm::RS384, kid, &claims, key)).await;
        assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")), "{says}");
        assert!(answer["error_description"].as_str().unwrap().contains(says), "{answer}");
    }
    let (_, answer) = ask(&sandbox, &sign(Algorithm::RS256, kid, &fine("b"), &key)).await;
    assert!(answer["error_description"].as_str().unwrap().contains("RS384 or ES384"));
}

#[tokio::test]
async fn tokens_expire_and_can_be_revoked() {
    let sandbox = start(SandboxConfig { token_lifetime: Duration::ZERO, ..guarded() });
    let client = sandbox.register_client();
    let key = EncodingKey::from_rsa_pem(client.private_pem.as_bytes()).unwrap();
    let kid = client.private_jwk["kid"].as_str().unwrap();
    let claims = claims(&client.client_id, &client.token_url, "one");
    let (_, answer) = ask(&sandbox, &sign(Algorithm::RS384, kid, &claims, &key)).await;
    assert_eq!(kick_off_with(&sandbox, answer["access_token"].as_str().unwrap()).await, 401);
}

#[tokio::test]
async fn says_where_to_get_a_token_without_one() {
    let sandbox = start(guarded());
    let base = sandbox.base_url();
    let smart = json(&format!("{base}/.well-known/smart-configuration")).await;
    assert_eq!(smart["token_endpoint"], sandbox.token_url());
    let capabilities = json(&format!("{base}/metadata")).await;
    let uris = &capabilities["rest"][0]["security"]["extension"][0]["extension"];
    assert_eq!(uris[0]["valueUri"], sandbox.token_url());
    assert_eq!(get(&format!("{base}/Group")).await.status(), 401);
    let config = json(&base.replace("/fhir", "/sandbox/config")).await;
    assert_eq!(config["key"]["kty"], "RSA");
    assert_eq!(config["fhir_url"], base);
}

/// A client and how it signs.
struct Signer {
    client: ClientCredentials,
    key: EncodingKey,
}

impl Signer {
    fn new(sandbox: &Sandbox) -> Self {
        let client = sandbox.register_client();
        let key = EncodingKey::from_rsa_pem(client.private_pem.as_bytes()).unwrap();
        Self { client, key }
    }

    async fn ask(&self, sandbox: &Sandbox, scope: &str) -> (u16, Value) {
        let jti = format!("{scope}{}", sandbox.stats().tokens_issued);
        let claims = claims(&self.client.client_id, &self.client.token_url, &jti);
        let assertion = sign(Algorithm::RS384, self.client.private_jwk["kid"].as_str().unwrap(), &claims, &self.key);
        ask_for(sandbox, &assertion, scope).await
    }
}

#[tokio::test]
async fn grants_less_than_was_asked_for_and_holds_clients_to_it() {
    let switches = "permission=v2 grant=system/Patient.rs,system/Group.rs enforce-scopes".to_owned();
    let sandbox = start(SandboxConfig { switches, ..guarded() });
    let signer = Signer::new(&sandbox);
    let (status, refused) = signer.ask(&sandbox, "system/*.read").await;
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_scope")));
    let (_, granted) = signer.ask(&sandbox, "system/*.rs").await;
    assert_eq!(granted["scope"], "system/Patient.rs system/Group.rs");
    let token = granted["access_token"].as_str().unwrap();
    let base = sandbox.base_url();
    for (path, status) in [("Patient", 200), ("Condition", 403), ("Group/FallonHealth", 200), ("metadata", 200)] {
        assert_eq!(http().get(format!("{base}/{path}")).bearer_auth(token).send().await.unwrap().status(), status, "{path}");
    }
    let ask = async |query: &str| kick_off(&sandbox, &format!("Patient/$export{query}")).bearer_auth(token).send().await.unwrap();
    assert_eq!(ask("?_type=Condition").await.status(), 403);
    let accepted = ask("").await;
    let status = accepted.headers()["content-location"].to_str().unwrap();
    let manifest: Value = http().get(status).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    let files = manifest["output"].as_array().unwrap();
    assert!(!files.is_empty() && files.iter().all(|file| file["type"] == "Patient"), "only what is covered");
    let smart = json(&format!("{base}/.well-known/smart-configuration")).await;
    assert_eq!((&smart["scopes_supported"], &smart["capabilities"][1]), (&json!(["system/*.rs"]), &json!("permission-v2")));
}

#[tokio::test]
async fn the_token_endpoint_breaks_as_asked() {
    let sandbox = start(guarded());
    let signer = Signer::new(&sandbox);
    let with = async |fault: &str| {
        sandbox.fault(fault);
        signer.ask(&sandbox, &format!("system/*.read system/{fault}.read")).await
    };
    assert_eq!(with("token:narrow=system/Patient.read").await.1["scope"], "system/Patient.read");
    assert_eq!(with("token:invalid-scope").await.1["error"], "invalid_scope");
    assert_eq!(with("token:expires-in-string").await.1["expires_in"], "300");
    assert_eq!(with("token:expires-in=0").await.1["expires_in"], 0);
    assert_eq!(with("token:expires-in=soon").await.1["expires_in"], "soon");
    assert!(with("token:no-expires-in").await.1.get("expires_in").is_none());
    assert!(with("token:no-scope").await.1.get("scope").is_none());
    sandbox.fault("token:bare=400");
    let bare = http().post(sandbox.token_url()).send().await.unwrap();
    assert_eq!((bare.status().as_u16(), bare.text().await.unwrap().as_str()), (400, ""));
}

#[tokio::test]
async fn a_clock_that_is_wrong_refuses_good_assertions() {
    for (switch, says) in [("clock=+10m", "ExpiredSignature"), ("clock=-10m", "five minutes")] {
        let sandbox = start(SandboxConfig { switches: switch.to_owned(), ..guarded() });
        let (status, answer) = Signer::new(&sandbox).ask(&sandbox, "system/*.read").await;
        assert_eq!(status, 401);
        assert!(answer["error_description"].as_str().unwrap().contains(says), "{answer}");
    }
}
