//! RSA keys.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use rsa::{
    BigUint, RsaPrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _},
    pkcs8::DecodePrivateKey as _,
    traits::{PrivateKeyParts as _, PublicKeyParts as _},
};
use serde_json::{Value, json};

use super::{BadKey, KeyKind, Read, bytes, text};

/// Numbers beyond any real key would keep the CPU busy.
const MOST_BITS: usize = 16 * 1024;

pub fn from_pkcs1(der: &[u8]) -> Result<Read, BadKey> {
    check(&RsaPrivateKey::from_pkcs1_der(der).map_err(|_| BadKey::Pem)?)
}

pub fn from_pkcs8(der: &[u8]) -> Result<Read, BadKey> {
    check(&RsaPrivateKey::from_pkcs8_der(der).map_err(|_| BadKey::Pem)?)
}

pub fn from_jwk(jwk: &Value) -> Result<Read, BadKey> {
    let number = |name: &'static str| {
        let bytes = bytes(jwk, name)?;
        if bytes.len() * 8 > MOST_BITS { Err(BadKey::Member(name)) } else { Ok(BigUint::from_bytes_be(&bytes)) }
    };
    let (n, e, d) = (number("n")?, number("e")?, number("d")?);
    // Without the primes they are recovered from n, e and d.
    let primes = if jwk.get("p").is_some() { vec![number("p")?, number("q")?] } else { Vec::new() };
    check(&RsaPrivateKey::from_components(n, e, d, primes).map_err(|_| BadKey::Broken)?)
}

pub fn generate() -> Result<Read, BadKey> {
    let pair = KeyPair::generate(KeySize::Rsa3072).map_err(|_| BadKey::Broken)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| BadKey::Broken)?;
    from_pkcs8(der.as_ref())
}

fn check(key: &RsaPrivateKey) -> Result<Read, BadKey> {
    let bits = key.n().bits();
    if bits < 2048 {
        return Err(BadKey::Short(bits));
    }
    if key.primes().len() != 2 || key.validate().is_err() {
        return Err(BadKey::Broken);
    }
    let der = key.to_pkcs1_der().map_err(|_| BadKey::Broken)?.as_bytes().to_vec();
    Ok(Read { kind: KeyKind::Rsa, der, thumbprint: thumbprint(key) })
}

pub fn public_jwk(der: &[u8]) -> Result<Value, BadKey> {
    let key = RsaPrivateKey::from_pkcs1_der(der).map_err(|_| BadKey::Broken)?;
    Ok(json!({"kty": "RSA", "n": number(key.n()), "e": number(key.e())}))
}

pub fn private_jwk(der: &[u8]) -> Result<Value, BadKey> {
    let mut key = RsaPrivateKey::from_pkcs1_der(der).map_err(|_| BadKey::Broken)?;
    key.precompute().map_err(|_| BadKey::Broken)?;
    let mut jwk = json!({"kty": "RSA", "n": number(key.n()), "e": number(key.e()), "d": number(key.d())});
    for (name, prime) in ["p", "q"].into_iter().zip(key.primes()) {
        jwk[name] = number(prime).into();
    }
    jwk["dp"] = key.dp().map(number).into();
    jwk["dq"] = key.dq().map(number).into();
    jwk["qi"] = key.crt_coefficient().as_ref().map(number).into();
    Ok(jwk)
}

/// Base64url of the big-endian bytes (RFC 7518, "Base64urlUInt").
fn number(number: &BigUint) -> String {
    text(&number.to_bytes_be())
}

pub fn thumbprint(key: &RsaPrivateKey) -> String {
    super::thumbprint(&format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, number(key.e()), number(key.n())))
}
