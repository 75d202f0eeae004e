//! EC keys: P-384 (ES384), and P-256 where the key says ES256.

use aws_lc_rs::{
    encoding::{AsBigEndian as _, EcPrivateKeyBin},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _},
};
use serde_json::{Value, json};

use super::{BadKey, KeyKind, Read, bytes, text};

/// Bytes of a number, and the rest of what tells the curves apart.
const fn curve(kind: KeyKind) -> (usize, &'static str, &'static EcdsaSigningAlgorithm) {
    match kind {
        KeyKind::P256 => (32, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyKind::P384 | KeyKind::Rsa => (48, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    }
}

/// PKCS#8 or SEC1: the curve stands in it.
pub fn from_der(der: &[u8]) -> Result<Read, BadKey> {
    let (kind, pair) = open(der).ok_or(BadKey::Pem)?;
    check(kind, &pair)
}

fn open(der: &[u8]) -> Option<(KeyKind, EcdsaKeyPair)> {
    [KeyKind::P384, KeyKind::P256]
        .into_iter()
        .find_map(|kind| EcdsaKeyPair::from_private_key_der(curve(kind).2, der).ok().map(|pair| (kind, pair)))
}

pub fn from_jwk(jwk: &Value) -> Result<Read, BadKey> {
    let kind = match jwk["crv"].as_str() {
        Some("P-384") => KeyKind::P384,
        Some("P-256") => KeyKind::P256,
        Some(other) => return Err(BadKey::Kind(format!("EC {}", other.chars().take(16).collect::<String>()))),
        None => return Err(BadKey::Member("crv")),
    };
    let (length, _, algorithm) = curve(kind);
    // Some libraries leave leading zeros out.
    let number = |name: &'static str| {
        let bytes = bytes(jwk, name)?;
        let missing = length.checked_sub(bytes.len()).ok_or(BadKey::Member(name))?;
        Ok([vec![0; missing], bytes].concat())
    };
    let point = [vec![4], number("x")?, number("y")?].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number("d")?, &point).map_err(|_| BadKey::Broken)?;
    check(kind, &pair)
}

pub fn generate(kind: KeyKind) -> Result<Read, BadKey> {
    check(kind, &EcdsaKeyPair::generate(curve(kind).2).map_err(|_| BadKey::Broken)?)
}

fn check(kind: KeyKind, pair: &EcdsaKeyPair) -> Result<Read, BadKey> {
    let der = pair.to_pkcs8v1().map_err(|_| BadKey::Broken)?.as_ref().to_vec();
    let jwk = public(kind, pair);
    let member = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
    let thumbprint = super::thumbprint(&format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, member("crv"), member("x"), member("y")));
    Ok(Read { kind, der, thumbprint })
}

fn public(kind: KeyKind, pair: &EcdsaKeyPair) -> Value {
    let (length, name, _) = curve(kind);
    // Uncompressed: 4, x, y.
    let (x, y) = pair.public_key().as_ref()[1..].split_at(length);
    json!({"kty": "EC", "crv": name, "x": text(x), "y": text(y)})
}

pub fn public_jwk(der: &[u8]) -> Result<Value, BadKey> {
    let (kind, pair) = open(der).ok_or(BadKey::Broken)?;
    Ok(public(kind, &pair))
}

pub fn private_jwk(der: &[u8]) -> Result<Value, BadKey> {
    let (kind, pair) = open(der).ok_or(BadKey::Broken)?;
    let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| BadKey::Broken)?;
    let mut jwk = public(kind, &pair);
    jwk["d"] = text(d.as_ref()).into();
    Ok(jwk)
}
