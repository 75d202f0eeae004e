use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{
    BigUint, RsaPrivateKey,
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};

use bulkhead_shared::domain::private_key::Algorithm;

use super::*;
use crate::problem::Kind;

fn rules() -> OutgoingRules {
    OutgoingRules::default()
}

fn ok(body: Value) -> Submission {
    kick_off(&body, &rules()).unwrap_or_else(|problem| panic!("{}", problem.detail))
}

fn refused(body: Value) -> Problem {
    kick_off(&body, &rules()).expect_err("should be refused")
}

/// A JWK as the SMART page gives it.
fn key() -> Value {
    static KEY: OnceLock<Value> = OnceLock::new();
    KEY.get_or_init(|| {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let b64 = |n: &BigUint| URL_SAFE_NO_PAD.encode(n.to_bytes_be());
        json!({"kty": "RSA", "kid": "test", "n": b64(key.n()), "e": b64(key.e()), "d": b64(key.d()),
               "p": b64(&key.primes()[0]), "q": b64(&key.primes()[1])})
    })
    .clone()
}

#[test]
fn every_form_of_the_url_names_the_same_server() {
    let base = "https://bulk.example.org/eyJlcnIiOiIi.long_token-123/fhir";
    for (end, level, group) in [
        ("", Level::System, None),
        ("/", Level::System, None),
        ("/$export", Level::System, None),
        ("/Patient", Level::Patient, None),
        ("/Patient/$export/", Level::Patient, None),
        ("/Group/BMCHealthNet", Level::Group, Some("BMCHealthNet")),
        ("/Group/BMCHealthNet/", Level::Group, Some("BMCHealthNet")),
        ("//Group/BMCHealthNet/%24export", Level::Group, Some("BMCHealthNet")),
        ("/Group/a%2Fb%20c/$export", Level::Group, Some("a%2Fb%20c")),
        ("/Group/a b", Level::Group, Some("a%20b")),
        ("/Group/Patient", Level::Group, Some("Patient")),
    ] {
        let read = ok(json!({"fhir_server_url": format!("{base}{end}")}));
        assert_eq!(read.base_url, base, "{end}");
        assert_eq!((read.ask.level, read.ask.group_id.as_deref()), (level, group), "{end}");
    }
    assert_eq!(ok(json!({"fhir_server_url": "https://fhir.example.org"})).base_url, "https://fhir.example.org");
    assert_eq!(ok(json!({"fhir_server_url": "HTTPS://FHIR.example.org:443/Group/1"})).base_url, "https://fhir.example.org");
}

#[test]
fn urls_that_cannot_be_used_are_told_by_field() {
    for (url, word) in [
        ("http://fhir.example.org/fhir", "fhir_server_url: "),
        ("https://169.254.169.254/", "fhir_server_url: "),
        ("https://fhir.example.org/Group", "/Group/[id]"),
        ("https://fhir.example.org/$export?_type=Patient", "query"),
    ] {
        let problem = refused(json!({"fhir_server_url": url}));
        assert!(problem.detail.contains(word), "{}", problem.detail);
        assert!(!problem.detail.contains("_type="), "no query in an error");
    }
}

#[test]
fn a_groups_id_is_found_however_it_is_written() {
    assert_eq!(group_segment("a b"), "a%20b");
    assert_eq!(group_segment("a%20b"), "a%20b");
    assert_eq!(group_segment("a/b"), "a%2Fb");
    assert_eq!(group_segment("a%2Fb"), "a%2Fb");
    assert_eq!(group_segment("a:b"), "a:b");
    assert_eq!(group_segment("BMCHealthNet"), "BMCHealthNet");
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let problem = refused(json!({"fhir_server_url": "https://x.example.org", "recource_types": []}));
    assert_eq!(problem.kind, Kind::UnknownField);
    assert!(problem.detail.starts_with("unknown field \"recource_types\"; known fields are fhir_server_url, "), "{}", problem.detail);
    assert!(refused(json!([1])).detail.contains("JSON object"));
}

#[test]
fn types_are_checked_and_each_is_asked_for_once() {
    let of = |value: Value| ok(json!({"fhir_server_url": "https://x.example.org", "resource_types": value})).ask.resource_types;
    assert_eq!(of(json!(["Patient", "Condition", "Patient"])), ["Patient", "Condition"]);
    assert_eq!(of(json!("Patient, Condition")), ["Patient", "Condition"]);
    assert!(of(Value::Null).is_empty());
    let synonym = ok(json!({"fhir_server_url": "https://x.example.org", "_type": "Patient", "resource_types": ["Patient"]}));
    assert_eq!(synonym.ask.resource_types, ["Patient"]);
    for wrong in [json!(["patient"]), json!(["Patient?x"]), json!([1]), json!(""), json!(7)] {
        refused(json!({"fhir_server_url": "https://x.example.org", "resource_types": wrong}));
    }
    refused(json!({"fhir_server_url": "https://x.example.org", "_type": "Patient", "resource_types": ["Group"]}));
}

#[test]
fn since_is_a_fhir_instant_or_date_and_stays_as_written() {
    for since in ["2023-01-01T00:00:00Z", "2023-01-01T00:00:00.123+08:00", "2023", "2023-02", "2023-02-28"] {
        let read = ok(json!({"fhir_server_url": "https://x.example.org", "since": since}));
        assert_eq!(read.ask.since.as_deref(), Some(since));
    }
    for wrong in
        ["", "yesterday", "2023-02-30", "2023-13", "23", "2023-01-01T00:00:00", "2023-01-01 00:00:00Z", "2023-1-1", "0000", "2023-01-01-01"]
    {
        let problem = refused(json!({"fhir_server_url": "https://x.example.org", "since": wrong}));
        assert!(problem.detail.contains("2023-01-01T00:00:00Z"), "{wrong}: {}", problem.detail);
    }
    refused(json!({"fhir_server_url": "https://x.example.org", "since": "2023", "_since": "2024"}));
}

#[test]
fn other_parameters_are_passed_on() {
    let read = ok(json!({
        "fhir_server_url": "https://x.example.org", "_typeFilter": ["Patient?active=true"], "allowPartialManifests": true,
        "_outputFormat": "ndjson", "parameters": {"_vendor": "x", "n": 5, "nothing": null}
    }));
    assert_eq!(
        Value::Object(read.ask.parameters),
        json!({"_typeFilter": ["Patient?active=true"], "allowPartialManifests": true, "_outputFormat": "ndjson", "_vendor": "x", "n": 5})
    );
    for wrong in
        [json!({"_type": "Patient"}), json!({"_since": "2023"}), json!({"x": {}}), json!({"x": "a\u{0}b"}), json!({"": 1}), json!("x")]
    {
        refused(json!({"fhir_server_url": "https://x.example.org", "parameters": wrong}));
    }
    refused(json!({"fhir_server_url": "https://x.example.org", "_outputFormat": "application/parquet"}));
}

#[test]
fn the_guides_body_is_read() {
    let read = ok(json!({
        "fhir_server_url": "https://bulk.example.org/eyJ/fhir/Group/BMCHealthNet", "resource_types": ["Patient"], "use_smart_auth": true,
        "token_url": "https://bulk.example.org/auth/token", "client_id": "me", "private_key": key().to_string(), "algorithm": "RS384"
    }));
    let Credentials::Smart(smart) = read.credentials else { panic!("smart") };
    assert_eq!((smart.token_url.as_deref(), smart.client_id.as_str()), (Some("https://bulk.example.org/auth/token"), "me"));
    let Key::Given(key) = smart.key else { panic!("a key") };
    assert_eq!((key.kid.as_deref(), key.algorithm), (Some("test"), Algorithm::Rs384));
}

#[test]
fn smart_authentication_names_what_is_missing() {
    let base = json!({"fhir_server_url": "https://x.example.org", "token_url": "https://x.example.org/token", "client_id": "me", "private_key": key()});
    assert!(matches!(ok(base.clone()).credentials, Credentials::Smart(_)), "credentials mean SMART authentication");
    for field in ["client_id", "private_key"] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().remove(field);
        assert!(refused(body).detail.contains(&format!("; {field} is missing")), "{field}");
    }
    assert!(refused(json!({"fhir_server_url": "https://x.example.org", "use_smart_auth": true})).detail.contains("are missing"));
    let mut body = base.clone();
    body.as_object_mut().unwrap().remove("token_url");
    let Credentials::Smart(smart) = ok(body).credentials else { panic!("smart") };
    assert!(smart.token_url.is_none(), "the server is asked for it");
    let mut body = base.clone();
    body["use_smart_auth"] = json!(false);
    assert!(matches!(ok(body.clone()).credentials, Credentials::Open));
    body["bearer_token"] = json!("t0ken");
    assert!(matches!(ok(body.clone()).credentials, Credentials::Bearer(_)));
    body["use_smart_auth"] = json!(true);
    assert!(refused(body).detail.contains("bearer_token"));
    let mut body = base.clone();
    body["algorithm"] = json!("ES384");
    assert!(refused(body.clone()).detail.contains("does not fit the key, which is RSA"));
    body["algorithm"] = json!("HS256");
    assert!(refused(body).detail.contains("RS384"));
    let mut body = base;
    body["token_url"] = json!("http://x.example.org/token");
    assert!(refused(body).detail.starts_with("token_url: "));
}

#[test]
fn a_key_of_ours_is_named_by_its_kid() {
    let base = json!({"fhir_server_url": "https://x.example.org", "client_id": "me", "kid": "k", "algorithm": "ES384"});
    let Credentials::Smart(smart) = ok(base.clone()).credentials else { panic!("smart") };
    assert!(matches!(smart.key, Key::Own { kid, algorithm: Some(Algorithm::Es384) } if kid == "k"));
    let mut twice = base.clone();
    twice["key_id"] = json!("k");
    assert!(refused(twice).detail.contains("give one"));
    let mut other = base;
    other["algorithm"] = json!("RS384");
    other["private_key"] = key();
    assert!(refused(other).detail.contains("another one than the kid"));
}

#[test]
fn a_resume_without_a_token_url_needs_the_base_url() {
    let mut body = json!({"status_url": "https://x.example.org/fhir/status/1", "client_id": "me", "private_key": key()});
    assert!(resume(&body, &rules()).unwrap_err().detail.contains("fhir_server_url"));
    body["fhir_server_url"] = json!("https://x.example.org/fhir");
    assert!(resume(&body, &rules()).is_ok());
}

#[test]
fn every_form_of_the_downloaded_config_is_understood() {
    let url = "https://bulk.example.org/eyJ/fhir";
    for config in [
        json!({"fhir_url": url, "token_url": "https://a.example.org/t", "client_id": "me", "private_key": key()}),
        json!({"fhirUrl": url, "tokenUrl": "https://a.example.org/t", "clientId": "me", "privateKey": key(), "tokenExpiration": 15}),
        json!({"fhir_server_url": url, "tokenEndpoint": "https://a.example.org/t", "client_id": "me", "jwks": {"keys": [key()]}}),
        json!({"fhir_url": url, "token_endpoint": "https://a.example.org/t", "client_id": "me", "jwks": [key()], "service_url": "x"}),
        json!({"fhirUrl": url, "token_endpoint": "https://a.example.org/t", "client_id": "me", "privateKey": {}, "jwk": key()}),
    ] {
        let read = ok(json!({"config": config, "resource_types": ["Patient"]}));
        assert_eq!(read.base_url, url);
        let Credentials::Smart(smart) = read.credentials else { panic!("smart") };
        assert_eq!((smart.token_url.as_deref(), smart.client_id.as_str()), (Some("https://a.example.org/t"), "me"));
    }
    let open = ok(json!({"config": {"fhirUrl": url, "tokenUrl": "none", "clientId": "", "privateKey": {}}}));
    assert!(matches!(open.credentials, Credentials::Open));
}

#[test]
fn the_guides_config_has_no_fhir_url_and_the_error_says_so() {
    let config = json!({"auth_type": "backend-services", "token_endpoint": "https://a.example.org/t", "client_id": "me", "key": key()});
    assert!(refused(json!({ "config": config })).detail.contains("fhir_server_url"));
    let read = ok(json!({"config": config, "fhir_server_url": "https://bulk.example.org/fhir/Group/1"}));
    assert_eq!(read.ask.group_id.as_deref(), Some("1"));
    assert!(matches!(read.credentials, Credentials::Smart(_)));
    assert!(
        refused(json!({"config": config, "fhir_server_url": "https://x.example.org", "client_id": "other"}))
            .detail
            .contains("give it once")
    );
}

#[test]
fn an_unescaped_key_is_named_as_the_cause() {
    let jwk = key().to_string();
    let modulus = key()["n"].as_str().unwrap().to_owned();
    for body in [
        format!(r#"{{"client_id": "me", "private_key": "{jwk}", "algorithm": "RS384"}}"#),
        "{\n  \"private_key\" : \"{ \n\"kty\":\"RSA\"}\"}".to_owned(),
        format!(r#"{{"private_key": "{{"keys":[{jwk}]}}"}}"#),
    ] {
        let problem = read_json(body.as_bytes()).unwrap_err();
        assert_eq!(problem.kind, Kind::UnescapedKey, "{}", problem.detail);
        assert!(problem.detail.contains("not escaped") && problem.detail.contains("sed 's/\"/\\\\\"/g'"), "{}", problem.detail);
        assert!(!problem.detail.contains(&modulus), "the key is not repeated");
    }
    let pem = read_json(b"{\"private_key\": \"-----BEGIN PRIVATE KEY-----\nAAAA\n\"}").unwrap_err();
    assert_eq!(pem.kind, Kind::UnescapedKey);
    let other = read_json(b"{\"a\": 1,,}").unwrap_err();
    assert_eq!(other.kind, Kind::InvalidJson);
    assert!(other.detail.contains("line 1 column"), "{}", other.detail);
    assert!(read_json("\u{feff}{}".as_bytes()).is_ok());
}

#[test]
fn a_resumed_export_belongs_to_the_status_urls_origin() {
    let of = |body: Value| resume(&body, &rules());
    let read = of(json!({"status_url": "https://bulk.example.org:8443/fhir/bulkstatus/1?x=2", "bearer_token": "Bearer abc"})).unwrap();
    assert_eq!(read.base_url, "https://bulk.example.org:8443");
    assert_eq!(read.status_url.as_deref(), Some("https://bulk.example.org:8443/fhir/bulkstatus/1?x=2"));
    assert_eq!(read.ask.level, Level::Unknown);
    let Credentials::Bearer(token) = read.credentials else { panic!("bearer") };
    assert_eq!(secrecy::ExposeSecret::expose_secret(&token), "abc");
    let elsewhere = json!({"status_url": "https://a.example.org/1", "fhir_server_url": "https://b.example.org", "bearer_token": "abc"});
    assert!(of(elsewhere).unwrap_err().detail.contains("different servers"));
    assert!(of(json!({})).unwrap_err().detail.contains("status_url is missing"));
    assert!(of(json!({"status_url": "https://a.example.org/1", "bearer_token": "a b"})).is_err());
}

#[test]
fn the_same_request_has_the_same_hash() {
    let hash = |text: &str| ok(serde_json::from_str(text).unwrap()).request_hash;
    let one = hash(r#"{"fhir_server_url": "https://x.example.org", "resource_types": ["Patient"]}"#);
    assert_eq!(one, hash(r#"{"resource_types":["Patient"],"fhir_server_url":"https://x.example.org"}"#));
    assert_ne!(one, hash(r#"{"resource_types":["Group"],"fhir_server_url":"https://x.example.org"}"#));
}
