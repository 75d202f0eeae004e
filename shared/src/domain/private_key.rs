//! A client's private key in any form a user may have it: JWK (object or string), JWKS, PEM.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{
    BigUint, RsaPrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _},
    pkcs8::DecodePrivateKey as _,
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A key that can sign. `Debug` shows its thumbprint only.
#[derive(Clone, Serialize, Deserialize)]
pub struct PrivateKey {
    /// PKCS#1 DER, base64url.
    der: String,
    pub kid: Option<String>,
    /// RFC 7638, SHA-256, base64url: names the key without revealing it.
    pub thumbprint: String,
}

/// What is wrong with a key, and what to do. Never holds a piece of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("private_key is empty; give the `key` object of the downloaded configuration, or a PEM")]
    Empty,
    #[error("private_key is neither JSON nor PEM; give a JWK (as an object or a string), a JWKS, or a PEM that starts with -----BEGIN")]
    Form,
    #[error("the JWKS holds no private RSA key; a public key (without \"d\") cannot sign")]
    NoPrivateKey,
    #[error("the JWK lacks a valid {0:?}; copy the whole `key` object, without the \"...\" of an example")]
    Member(&'static str),
    #[error("{0} keys are not supported by this version; register an RSA key (RS384)")]
    Kind(String),
    #[error("the key's numbers do not belong together; copy the whole key again")]
    Broken,
    #[error("the PEM cannot be read; it must be an unencrypted RSA key (PKCS#8 or PKCS#1)")]
    Pem,
    #[error("the RSA key has {0} bits; SMART Backend Services needs 2048 or more")]
    Short(usize),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.thumbprint)
    }
}

impl PrivateKey {
    /// Reads a key from a request: a JSON object, or a string that holds JSON or PEM.
    pub fn from_request(value: &Value) -> Result<Self, BadKey> {
        match value {
            Value::Object(_) => Self::from_json(value),
            Value::String(text) => Self::from_text(text),
            _ => Err(BadKey::Form),
        }
    }

    /// Reads a key from text: JSON or PEM.
    pub fn from_text(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadKey::Empty);
        }
        if text.starts_with("-----BEGIN") {
            return Self::from_pem(text);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| BadKey::Form)?;
        match value {
            Value::Object(_) => Self::from_json(&value),
            _ => Err(BadKey::Form),
        }
    }

    fn from_pem(pem: &str) -> Result<Self, BadKey> {
        if pem.contains("BEGIN EC PRIVATE KEY") {
            return Err(BadKey::Kind("EC".to_owned()));
        }
        // A PEM pasted into JSON or .env often has its line ends as the two characters "\n".
        let pem = pem.replace("\\n", "\n");
        let key = RsaPrivateKey::from_pkcs8_pem(&pem).or_else(|_| RsaPrivateKey::from_pkcs1_pem(&pem)).map_err(|_| BadKey::Pem)?;
        Self::new(&key, None)
    }

    fn from_json(value: &Value) -> Result<Self, BadKey> {
        if let Some(keys) = value.get("keys").and_then(Value::as_array) {
            let private = keys.iter().find(|key| key["kty"] == "RSA" && key.get("d").is_some());
            return Self::from_json(private.ok_or(BadKey::NoPrivateKey)?);
        }
        match value["kty"].as_str() {
            Some("RSA") => {}
            Some(other) => return Err(BadKey::Kind(other.chars().take(16).collect())),
            None => return Err(BadKey::Member("kty")),
        }
        let number = |name: &'static str| -> Result<BigUint, BadKey> {
            let text = value[name].as_str().ok_or(BadKey::Member(name))?;
            let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| BadKey::Member(name))?;
            if bytes.is_empty() { Err(BadKey::Member(name)) } else { Ok(BigUint::from_bytes_be(&bytes)) }
        };
        if value.get("d").is_none() {
            return Err(BadKey::NoPrivateKey);
        }
        let (n, e, d) = (number("n")?, number("e")?, number("d")?);
        // Without the primes they are recovered from n, e and d.
        let primes = if value.get("p").is_some() { vec![number("p")?, number("q")?] } else { Vec::new() };
        let key = RsaPrivateKey::from_components(n, e, d, primes).map_err(|_| BadKey::Broken)?;
        Self::new(&key, value["kid"].as_str().map(str::to_owned))
    }

    fn new(key: &RsaPrivateKey, kid: Option<String>) -> Result<Self, BadKey> {
        let bits = key.n().bits();
        if bits < 2048 {
            return Err(BadKey::Short(bits));
        }
        if key.primes().len() != 2 || key.validate().is_err() {
            return Err(BadKey::Broken);
        }
        let der = key.to_pkcs1_der().map_err(|_| BadKey::Broken)?;
        Ok(Self { der: URL_SAFE_NO_PAD.encode(der.as_bytes()), kid, thumbprint: thumbprint(key) })
    }

    /// PKCS#1 DER, for the signer.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(&self.der).unwrap_or_default()
    }
}

fn thumbprint(key: &RsaPrivateKey) -> String {
    let e = URL_SAFE_NO_PAD.encode(key.e().to_bytes_be());
    let n = URL_SAFE_NO_PAD.encode(key.n().to_bytes_be());
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
    use serde_json::json;

    fn jwk(key: &RsaPrivateKey) -> Value {
        let b64 = |n: &BigUint| URL_SAFE_NO_PAD.encode(n.to_bytes_be());
        json!({"kty": "RSA", "kid": "k1", "n": b64(key.n()), "e": b64(key.e()), "d": b64(key.d()),
               "p": b64(&key.primes()[0]), "q": b64(&key.primes()[1])})
    }

    #[test]
    fn every_form_of_a_key_is_the_same_key() {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let full = jwk(&key);
        let mut lean = full.clone();
        lean.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "p" | "q"));
        let forms = [
            full.clone(),
            Value::String(full.to_string()),
            lean,
            json!({"keys": [{"kty": "RSA", "n": full["n"], "e": full["e"]}, full]}),
            Value::String(key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()),
            Value::String(key.to_pkcs1_pem(LineEnding::LF).unwrap().replace('\n', "\\n")),
        ];
        let expected = thumbprint(&key);
        for form in forms {
            let read = PrivateKey::from_request(&form).unwrap();
            assert_eq!(read.thumbprint, expected);
            let again = RsaPrivateKey::from_pkcs1_der(&read.der()).unwrap();
            assert_eq!(again.n(), key.n());
        }
    }

    #[test]
    fn a_wrong_key_is_told_in_words_without_its_content() {
        let key = jwk(&RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap());
        let mut public = key.clone();
        public.as_object_mut().unwrap().remove("d");
        let mut placeholder = key.clone();
        placeholder["n"] = json!("...");
        let mut mixed = key.clone();
        mixed["q"] = mixed["p"].clone();
        for (form, expected) in [
            (json!(""), BadKey::Empty),
            (json!("hello"), BadKey::Form),
            (json!(17), BadKey::Form),
            (public, BadKey::NoPrivateKey),
            (placeholder, BadKey::Member("n")),
            (mixed, BadKey::Broken),
            (json!({"kty": "EC", "crv": "P-384"}), BadKey::Kind("EC".to_owned())),
            (json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"), BadKey::Pem),
        ] {
            assert_eq!(PrivateKey::from_request(&form).unwrap_err(), expected);
        }
    }
}
