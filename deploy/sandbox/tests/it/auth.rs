use std::time::Duration;

use bulkhead_sandbox::{Sandbox, SandboxConfig};
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
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.read"),
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
