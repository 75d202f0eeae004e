use std::collections::BTreeSet;

use rsa::{
    BigUint, RsaPrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _},
    pkcs8::{EncodePrivateKey as _, LineEnding},
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};
use serde_json::json;

use super::{
    Algorithm::{Es256, Es384, Ps384, Rs256, Rs384},
    *,
};

fn read(form: &Value) -> Result<PrivateKey, BadKey> {
    PrivateKey::from_request(form, Wanted::default())
}

fn jwk(key: &RsaPrivateKey) -> Value {
    let b64 = |n: &BigUint| URL_SAFE_NO_PAD.encode(n.to_bytes_be());
    json!({"kty": "RSA", "kid": "k1", "n": b64(key.n()), "e": b64(key.e()), "d": b64(key.d()),
           "p": b64(&key.primes()[0]), "q": b64(&key.primes()[1])})
}

fn without(key: &Value, members: &[&str]) -> Value {
    let mut key = key.clone();
    key.as_object_mut().unwrap().retain(|name, _| !members.contains(&name.as_str()));
    key
}

/// DER as PEM of lines of 64.
fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn every_form_of_a_key_is_the_same_key() {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    let full = jwk(&key);
    let forms = [
        full.clone(),
        Value::String(full.to_string()),
        without(&full, &["p", "q"]),
        json!({"keys": [{"kty": "RSA", "n": full["n"], "e": full["e"]}, full]}),
        Value::String(key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()),
        Value::String(key.to_pkcs8_pem(LineEnding::CRLF).unwrap().replace("\r\n", " ")),
        Value::String(key.to_pkcs1_pem(LineEnding::LF).unwrap().replace('\n', "\\n")),
    ];
    let expected = rsa_key::thumbprint(&key);
    for form in forms {
        let read = read(&form).unwrap();
        assert_eq!((read.thumbprint.as_str(), read.algorithm), (expected.as_str(), Algorithm::Rs384));
        let again = RsaPrivateKey::from_pkcs1_der(&read.der()).unwrap();
        assert_eq!(again.n(), key.n());
    }
}

#[test]
fn every_form_of_an_ec_key_is_the_same_key() {
    use aws_lc_rs::{
        encoding::{AsDer as _, EcPrivateKeyRfc5915Der},
        signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
    };
    let made = PrivateKey::generate(Algorithm::Es384).unwrap();
    let full = made.private_jwk().unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &made.der()).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    let sec1 = pem("EC PRIVATE KEY", sec1.as_ref());
    let forms = [
        full.clone(),
        Value::String(full.to_string()),
        without(&full, &["alg", "use", "key_ops", "kid"]),
        json!({"keys": [made.public_jwk().unwrap(), full]}),
        Value::String(pem("PRIVATE KEY", &made.der())),
        Value::String(sec1.clone()),
        Value::String(format!("-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n{sec1}").replace('\n', "\\n")),
    ];
    for form in forms {
        let read = read(&form).unwrap();
        assert_eq!((&read.thumbprint, read.algorithm, read.der()), (&made.thumbprint, Algorithm::Es384, made.der()));
    }
    assert_eq!(made.kid.as_ref(), Some(&made.thumbprint));
    assert!(made.public_jwk().unwrap().get("d").is_none());
}

#[test]
fn a_made_rsa_key_can_be_read_again() {
    let made = PrivateKey::generate(Algorithm::Rs384).unwrap();
    let again = read(&made.private_jwk().unwrap()).unwrap();
    assert_eq!((&again.thumbprint, &again.kid, again.der()), (&made.thumbprint, &made.kid, made.der()));
    let public = made.public_jwk().unwrap();
    let members: BTreeSet<&str> = public.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["alg", "e", "key_ops", "kid", "kty", "n", "use"]));
}

/// RFC 7638, 3.1.
#[test]
fn a_thumbprint_is_that_of_the_specification() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W\
             -5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS\
             D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let members = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#);
    assert_eq!(thumbprint(&members), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn of_a_set_the_key_that_is_wanted_is_taken() {
    let rsa = PrivateKey::generate(Algorithm::Rs384).unwrap();
    let ec = PrivateKey::generate(Algorithm::Es384).unwrap();
    let p256 = PrivateKey::generate(Algorithm::Es256).unwrap();
    let encrypts = without(&rsa.private_jwk().unwrap(), &["alg", "key_ops", "use"]);
    let mut encrypts = encrypts;
    encrypts["use"] = json!("enc");
    let set = json!({"keys": [
        encrypts, {"kty": "oct", "k": "AAAA"}, {"kty": "OKP", "crv": "Ed25519", "d": "AA", "x": "AA"},
        p256.private_jwk().unwrap(), ec.private_jwk().unwrap(), rsa.private_jwk().unwrap(),
    ]});
    let take = |algorithm, kid| PrivateKey::from_request(&set, Wanted { algorithm, kid }).map(|key| key.thumbprint);
    assert_eq!(take(None, None).as_ref(), Ok(&ec.thumbprint), "one that every server accepts");
    assert_eq!(take(Some(Algorithm::Rs384), None).as_ref(), Ok(&rsa.thumbprint));
    assert_eq!(take(Some(Algorithm::Es256), None).as_ref(), Ok(&p256.thumbprint));
    assert_eq!(take(None, rsa.kid.as_deref()).as_ref(), Ok(&rsa.thumbprint));
    assert_eq!(take(None, Some("nobody")), Err(BadKey::NotInSet("with that kid".to_owned())));
    assert_eq!(take(Some(Algorithm::Ps512), None), Err(BadKey::NotInSet("for PS512".to_owned())));
    let public = json!({"keys": [rsa.public_jwk().unwrap()]});
    assert_eq!(read(&public).unwrap_err(), BadKey::NoPrivateKey);
}

#[test]
fn an_algorithm_must_fit_the_key() {
    let rsa = without(&PrivateKey::generate(Algorithm::Rs384).unwrap().private_jwk().unwrap(), &["alg"]);
    let ec = without(&PrivateKey::generate(Algorithm::Es384).unwrap().private_jwk().unwrap(), &["alg"]);
    let p256 = PrivateKey::generate(Algorithm::Es256).unwrap().private_jwk().unwrap();
    let with = |key: &Value, alg: &str| {
        let mut key = key.clone();
        key["alg"] = json!(alg);
        key
    };
    let signs = |key: &Value, algorithm| PrivateKey::from_request(key, Wanted { algorithm, kid: None }).map(|key| key.algorithm);
    assert_eq!(signs(&rsa, Some(Rs384)), Ok(Rs384));
    assert_eq!(signs(&ec, Some(Es384)), Ok(Es384));
    assert_eq!(signs(&rsa, Some(Es384)), Err(BadKey::Misfit { wanted: Es384, kind: "RSA" }));
    assert_eq!(signs(&rsa, Some(Rs256)), Err(BadKey::OnlyByAlg(Rs256)));
    assert_eq!(signs(&with(&rsa, "RS256"), None), Ok(Rs256), "the key's own alg says so");
    assert_eq!(signs(&with(&rsa, "PS384"), Some(Ps384)), Ok(Ps384));
    assert_eq!(signs(&with(&rsa, "RS256"), Some(Rs384)), Err(BadKey::OtherAlgorithm { wanted: Rs384, own: Rs256 }));
    assert_eq!(signs(&with(&rsa, "RSA-OAEP"), None), Err(BadKey::Alg("RSA-OAEP".to_owned())));
    assert_eq!(signs(&with(&rsa, "ES384"), None), Err(BadKey::Alg("ES384".to_owned())));
    assert_eq!(signs(&p256, None), Ok(Es256));
    assert_eq!(signs(&without(&p256, &["alg"]), None), Err(BadKey::P256));
}

#[test]
fn a_wrong_key_is_told_in_words_without_its_content() {
    let key = jwk(&RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap());
    let with = |name: &str, value: &str| {
        let mut key = key.clone();
        key[name] = json!(value);
        key
    };
    let ec = PrivateKey::generate(Algorithm::Es384).unwrap().private_jwk().unwrap();
    let mut mixed_ec = ec.clone();
    mixed_ec["d"] = PrivateKey::generate(Algorithm::Es384).unwrap().private_jwk().unwrap()["d"].clone();
    for (form, expected) in [
        (json!(""), BadKey::Empty),
        (json!("hello"), BadKey::Form),
        (json!(17), BadKey::Form),
        (without(&key, &["d"]), BadKey::NoPrivateKey),
        (without(&ec, &["d"]), BadKey::NoPrivateKey),
        (with("n", "..."), BadKey::Member("n")),
        (with("q", key["p"].as_str().unwrap()), BadKey::Broken),
        (mixed_ec, BadKey::Broken),
        (json!({"kty": "EC", "crv": "P-384", "d": "AA"}), BadKey::Member("x")),
        (json!({"kty": "EC", "crv": "P-521", "d": "AA"}), BadKey::Kind("EC P-521".to_owned())),
        (json!({"kty": "OKP", "crv": "Ed25519", "d": "AA"}), BadKey::Kind("OKP".to_owned())),
        (json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"), BadKey::Pem),
        (json!("-----BEGIN PRIVATE KEY-----\nAAAA"), BadKey::Pem),
        (json!("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"), BadKey::NoPrivateKey),
        (json!("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"), BadKey::Encrypted),
        (json!("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nAAAA\n-----END EC PRIVATE KEY-----"), BadKey::Encrypted),
    ] {
        assert_eq!(read(&form).unwrap_err(), expected);
    }
}

/// Whatever comes instead of a key is refused in words; nothing panics.
#[test]
fn spoilt_keys_never_panic() {
    let keys = [
        PrivateKey::generate(Algorithm::Es384).unwrap().private_jwk().unwrap().to_string(),
        pem("PRIVATE KEY", &PrivateKey::generate(Algorithm::Es384).unwrap().der()),
        jwk(&RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap()).to_string(),
    ];
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for key in &keys {
        for _ in 0..1_000 {
            let mut bytes = key.clone().into_bytes();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = u8::try_from(random(128)).unwrap(),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = read(&Value::String(text));
        }
    }
}
