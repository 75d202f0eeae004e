//! A client's private key in any form a user may have it: JWK (object or string), JWKS, PEM.

mod ec;
mod pem;
mod rsa_key;
#[cfg(test)]
mod tests;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::words;

words! {
    /// What an assertion is signed with. SMART Backend Services has RS384 and ES384; the others are used only where the key's own
    /// `alg` says so.
    pub enum Algorithm {
        Rs256 = "RS256",
        Rs384 = "RS384",
        Rs512 = "RS512",
        Ps256 = "PS256",
        Ps384 = "PS384",
        Ps512 = "PS512",
        Es256 = "ES256",
        Es384 = "ES384",
    }
}

impl Algorithm {
    /// The kind of key that signs so.
    #[must_use]
    pub const fn kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
        }
    }

    /// What keys stored before there was a choice sign with.
    const fn first() -> Self {
        Self::Rs384
    }
}

/// The kinds of keys that can sign an assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Rsa,
    P256,
    P384,
}

impl KeyKind {
    /// What it signs with unless its own `alg` says otherwise: what every SMART server must accept.
    const fn default_algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Rsa => Some(Algorithm::Rs384),
            Self::P384 => Some(Algorithm::Es384),
            Self::P256 => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 => "EC P-256",
            Self::P384 => "EC P-384",
        }
    }
}

/// A key that can sign. `Debug` shows its thumbprint only.
#[derive(Clone, Serialize, Deserialize)]
pub struct PrivateKey {
    /// Of an RSA key PKCS#1, of an EC key PKCS#8: DER, base64url.
    der: String,
    #[serde(default = "Algorithm::first")]
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    /// RFC 7638, SHA-256, base64url: names the key without revealing it.
    pub thumbprint: String,
}

/// Which key is meant, where more than one is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    pub algorithm: Option<Algorithm>,
    pub kid: Option<&'a str>,
}

/// What is wrong with a key, and what to do. Never holds a piece of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("private_key is empty; give the `key` object of the downloaded configuration, or a PEM")]
    Empty,
    #[error("private_key is neither JSON nor PEM; give a JWK (as an object or a string), a JWKS, or a PEM that starts with -----BEGIN")]
    Form,
    #[error("private_key holds no private key that can sign; a public key (without \"d\") cannot, give its private half")]
    NoPrivateKey,
    #[error("the JWKS holds no private key {0}; give the kid or the algorithm of one that it holds, or that key alone")]
    NotInSet(String),
    #[error("the JWK lacks a valid {0:?}; copy the whole `key` object, without the \"...\" of an example")]
    Member(&'static str),
    #[error("{0} keys cannot sign for SMART Backend Services; register an RSA key (RS384) or an EC key on the curve P-384 (ES384)")]
    Kind(String),
    #[error("the key's numbers do not belong together; copy the whole key again")]
    Broken,
    #[error(
        "the PEM cannot be read; it must be an unencrypted RSA or EC key (PKCS#8, PKCS#1 or SEC1), copied with its BEGIN and END lines"
    )]
    Pem,
    #[error("the PEM is encrypted; decrypt it first: openssl pkey -in key.pem -out plain.pem")]
    Encrypted,
    #[error("the RSA key has {0} bits; SMART Backend Services needs 2048 or more")]
    Short(usize),
    #[error(
        "algorithm {wanted} does not fit the key, which is {kind}; leave algorithm out, or give the key that is registered for {wanted}"
    )]
    Misfit { wanted: Algorithm, kind: &'static str },
    #[error("algorithm {wanted} is not the key's own alg ({own}); leave algorithm out, or correct the key's alg to what is registered")]
    OtherAlgorithm { wanted: Algorithm, own: Algorithm },
    #[error(
        "algorithm {0} is not what SMART servers must accept (RS384, ES384); if yours wants it, give the key as a JWK whose \"alg\" is \"{0}\""
    )]
    OnlyByAlg(Algorithm),
    #[error(
        "an EC P-256 key signs with ES256, which SMART servers need not accept; register a P-384 key, or give the JWK with \"alg\": \"ES256\""
    )]
    P256,
    #[error("the key's alg {0:?} does not fit it or is not known; use RS384 for an RSA key, ES384 for an EC P-384 key")]
    Alg(String),
    #[error("the key's kid is another one than the kid that is given; leave kid out, or give the key it names")]
    OtherKid,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.thumbprint)
    }
}

impl PrivateKey {
    /// Reads a key from a request: a JSON object, or a string that holds JSON or PEM.
    pub fn from_request(value: &Value, wanted: Wanted<'_>) -> Result<Self, BadKey> {
        match value {
            Value::Object(_) => Self::from_json(value, wanted),
            Value::String(text) => Self::from_text(text, wanted),
            _ => Err(BadKey::Form),
        }
    }

    /// Reads a key from text: JSON or PEM.
    pub fn from_text(text: &str, wanted: Wanted<'_>) -> Result<Self, BadKey> {
        let text = text.trim().trim_start_matches('\u{feff}');
        if text.is_empty() {
            return Err(BadKey::Empty);
        }
        if text.starts_with("-----BEGIN") {
            return Self::from_pem(text, wanted);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| BadKey::Form)?;
        match value {
            Value::Object(_) => Self::from_json(&value, wanted),
            _ => Err(BadKey::Form),
        }
    }

    fn from_pem(text: &str, wanted: Wanted<'_>) -> Result<Self, BadKey> {
        let found = pem::private(text)?;
        let read = match found.form {
            pem::Form::Pkcs1 => rsa_key::from_pkcs1(&found.der),
            pem::Form::Sec1 => ec::from_der(&found.der),
            pem::Form::Pkcs8 => rsa_key::from_pkcs8(&found.der).or_else(|error| match error {
                BadKey::Pem => ec::from_der(&found.der),
                other => Err(other),
            }),
        }?;
        Self::new(read, None, None, wanted)
    }

    fn from_json(value: &Value, wanted: Wanted<'_>) -> Result<Self, BadKey> {
        if let Some(keys) = value.get("keys").and_then(Value::as_array) {
            return Self::from_set(keys, wanted);
        }
        let kind = match value["kty"].as_str() {
            Some(kind @ ("RSA" | "EC")) => kind,
            Some(other) => return Err(BadKey::Kind(other.chars().take(16).collect())),
            None => return Err(BadKey::Member("kty")),
        };
        if value.get("d").is_none() {
            return Err(BadKey::NoPrivateKey);
        }
        let read = if kind == "RSA" { rsa_key::from_jwk(value) } else { ec::from_jwk(value) }?;
        Self::new(read, value["alg"].as_str(), value["kid"].as_str(), wanted)
    }

    /// The one that can sign: with the kid and the algorithm that are wanted; without a wish rather one that signs as SMART has it.
    fn from_set(keys: &[Value], wanted: Wanted<'_>) -> Result<Self, BadKey> {
        let mut private = keys.iter().filter(|key| can_sign(key)).peekable();
        if private.peek().is_none() {
            return Err(BadKey::NoPrivateKey);
        }
        let mut fitting: Vec<&Value> = private.filter(|key| fits(key, wanted)).collect();
        fitting.sort_by_key(|key| !signs_as_smart_has_it(key));
        let Some(first) = fitting.first() else {
            return Err(BadKey::NotInSet(match (wanted.kid, wanted.algorithm) {
                (Some(_), _) => "with that kid".to_owned(),
                (None, Some(algorithm)) => format!("for {algorithm}"),
                (None, None) => "of a known kind".to_owned(),
            }));
        };
        Self::from_json(first, wanted)
    }

    fn new(read: Read, alg: Option<&str>, kid: Option<&str>, wanted: Wanted<'_>) -> Result<Self, BadKey> {
        let own = match alg {
            None => None,
            Some(alg) => {
                let known = alg.parse::<Algorithm>().ok().filter(|own| own.kind() == read.kind);
                Some(known.ok_or_else(|| BadKey::Alg(alg.chars().take(16).collect()))?)
            }
        };
        let algorithm = algorithm(read.kind, own, wanted.algorithm)?;
        let kid = match (kid, wanted.kid) {
            (Some(own), Some(wanted)) if own != wanted => return Err(BadKey::OtherKid),
            (own, wanted) => own.or(wanted).map(str::to_owned),
        };
        Ok(Self { der: URL_SAFE_NO_PAD.encode(&read.der), algorithm, kid, thumbprint: read.thumbprint })
    }

    /// A new key pair; its kid is its thumbprint (RFC 7638).
    pub fn generate(algorithm: Algorithm) -> Result<Self, BadKey> {
        let read = match algorithm.kind() {
            KeyKind::Rsa => rsa_key::generate(),
            kind => ec::generate(kind),
        }?;
        let (kid, alg) = (read.thumbprint.clone(), algorithm.as_str());
        Self::new(read, Some(alg), Some(&kid), Wanted::default())
    }

    /// DER for the signer: PKCS#1 of an RSA key, PKCS#8 of an EC key.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(&self.der).unwrap_or_default()
    }

    /// The public half as a JWK (RFC 7517): what is registered.
    pub fn public_jwk(&self) -> Result<Value, BadKey> {
        let der = self.der();
        let numbers = if self.algorithm.kind() == KeyKind::Rsa { rsa_key::public_jwk(&der) } else { ec::public_jwk(&der) };
        Ok(self.named(numbers?, "verify"))
    }

    /// The whole key as a JWK: a secret.
    pub fn private_jwk(&self) -> Result<Value, BadKey> {
        let der = self.der();
        let numbers = if self.algorithm.kind() == KeyKind::Rsa { rsa_key::private_jwk(&der) } else { ec::private_jwk(&der) };
        Ok(self.named(numbers?, "sign"))
    }

    fn named(&self, mut jwk: Value, operation: &str) -> Value {
        jwk["alg"] = self.algorithm.as_str().into();
        jwk["use"] = "sig".into();
        jwk["key_ops"] = vec![operation].into();
        if let Some(kid) = &self.kid {
            jwk["kid"] = kid.as_str().into();
        }
        jwk
    }
}

/// A key's numbers, read and checked.
struct Read {
    kind: KeyKind,
    der: Vec<u8>,
    thumbprint: String,
}

/// What to sign with. The key's own `alg` decides; a wish must agree with it; without `alg` it is what SMART has.
fn algorithm(kind: KeyKind, own: Option<Algorithm>, wanted: Option<Algorithm>) -> Result<Algorithm, BadKey> {
    match (own, wanted) {
        (_, Some(wanted)) if wanted.kind() != kind => Err(BadKey::Misfit { wanted, kind: kind.name() }),
        (Some(own), Some(wanted)) if own != wanted => Err(BadKey::OtherAlgorithm { wanted, own }),
        (Some(own), _) => Ok(own),
        (None, Some(wanted)) if Some(wanted) != kind.default_algorithm() => Err(BadKey::OnlyByAlg(wanted)),
        (None, _) => kind.default_algorithm().ok_or(BadKey::P256),
    }
}

/// A private key of a set that is meant for signatures.
fn can_sign(key: &Value) -> bool {
    let kind = matches!(key["kty"].as_str(), Some("RSA" | "EC"));
    let signs = key["key_ops"].as_array().is_none_or(|operations| operations.iter().any(|operation| operation == "sign"));
    kind && key.get("d").is_some() && key["use"] != "enc" && signs
}

fn fits(key: &Value, wanted: Wanted<'_>) -> bool {
    let kid = wanted.kid.is_none_or(|kid| key["kid"] == kid);
    let algorithm = wanted.algorithm.is_none_or(|algorithm| match key["alg"].as_str() {
        Some(own) => own == algorithm.as_str(),
        None => kind_of(key).is_some_and(|kind| kind.default_algorithm() == Some(algorithm)),
    });
    kid && algorithm
}

fn kind_of(key: &Value) -> Option<KeyKind> {
    match (key["kty"].as_str(), key["crv"].as_str()) {
        (Some("RSA"), _) => Some(KeyKind::Rsa),
        (Some("EC"), Some("P-384")) => Some(KeyKind::P384),
        (Some("EC"), Some("P-256")) => Some(KeyKind::P256),
        _ => None,
    }
}

fn signs_as_smart_has_it(key: &Value) -> bool {
    let usual = kind_of(key).and_then(KeyKind::default_algorithm);
    usual.is_some_and(|usual| key["alg"].as_str().is_none_or(|own| own == usual.as_str()))
}

/// A number or coordinate of a JWK: base64url, padding tolerated.
fn bytes(jwk: &Value, name: &'static str) -> Result<Vec<u8>, BadKey> {
    let text = jwk[name].as_str().ok_or(BadKey::Member(name))?;
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| BadKey::Member(name))?;
    if bytes.is_empty() { Err(BadKey::Member(name)) } else { Ok(bytes) }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// RFC 7638, of the required members in their order.
fn thumbprint(members: &str) -> String {
    text(&Sha256::digest(members))
}
