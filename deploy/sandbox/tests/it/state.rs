use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{body, file_url, get, header, http, json, quick, start, status_url};

#[tokio::test]
async fn stops_like_a_crash_and_starts_again_on_the_same_port() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    let file = file_url(&json(&status).await, "Patient");
    sandbox.fault("file:hold=half");
    let held = tokio::spawn(async move { body(&file).await });
    sandbox.wait_until(|stats| stats.held == 1).await;
    sandbox.stop().await;
    assert!(held.await.unwrap().is_err(), "the open connection is cut");
    assert_eq!(sandbox.stats().held, 0);
    assert!(http().get(&status).send().await.is_err(), "nobody listens");
    sandbox.start_again().await.unwrap();
    assert_eq!(get(&status).await.status(), 200);
    assert_eq!(sandbox.stats().kick_offs, 1);
}

/// A sandbox process; killed when dropped.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    fn start(listen: &str, state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bulkhead-sandbox"))
            .args(["--listen", listen, "--scale", "0.1", "--export-time", "0s", "--auth", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("not for production"), "{line}");
        let base = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, base }
    }

    fn address(&self) -> String {
        self.base.trim_start_matches("http://").trim_end_matches("/fhir").to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_killed_process_answers_its_old_status_urls_after_a_new_start() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let first = Process::start("127.0.0.1:0", &state);
    let config = json(&first.base.replace("/fhir", "/sandbox/config")).await;
    let token = token(&config).await;
    let kick_off = http().get(format!("{}/Group/FallonHealth/$export", first.base)).header("prefer", "respond-async").bearer_auth(&token);
    let response = kick_off.send().await.unwrap();
    let status = header(&response, "content-location").to_owned();
    let address = first.address();
    drop(first);

    let second = Process::start(&address, &state);
    let response = http().get(&status).bearer_auth(&token).send().await.unwrap();
    assert_eq!(response.status(), 200, "the export and the token live on");
    let counts = json(&second.base.replace("/fhir", "/sandbox/stats")).await;
    assert_eq!((&counts["kick_offs"], &counts["tokens_issued"]), (&1.into(), &1.into()));
}

async fn token(config: &serde_json::Value) -> String {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
    let part = |name: &str| config["key"][name].as_str().unwrap().to_owned();
    let client = config["client_id"].as_str().unwrap();
    let endpoint = config["token_endpoint"].as_str().unwrap();
    let number = |name: &str| {
        use base64::Engine;
        rsa::BigUint::from_bytes_be(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part(name)).unwrap())
    };
    let primes = vec![number("p"), number("q")];
    let key = rsa::RsaPrivateKey::from_components(number("n"), number("e"), number("d"), primes).unwrap();
    let key = rsa::pkcs1::EncodeRsaPrivateKey::to_pkcs1_der(&key).unwrap();
    let claims = serde_json::json!({
        "iss": client, "sub": client, "aud": endpoint, "exp": get_current_timestamp() + 200, "jti": "a",
    });
    let header = Header { kid: Some(part("kid")), ..Header::new(Algorithm::RS384) };
    let assertion = encode(&header, &claims, &EncodingKey::from_rsa_der(key.as_bytes())).unwrap();
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    let answer = http().post(endpoint).form(&form).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    answer["access_token"].as_str().expect("a token").to_owned()
}
