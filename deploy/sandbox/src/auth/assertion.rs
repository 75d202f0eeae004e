//! The signed assertion a client proves itself with (SMART App Launch 2.2, "Asymmetric authentication").

use anyhow::Context;
use chrono::DateTime;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::Value;

use crate::app::App;
use crate::door;
use crate::state::Client;

/// The longest an assertion may be good for, and how far the clocks may differ, in seconds.
const LONGEST: i64 = 300;
const LEEWAY: u64 = 5;

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: i64,
    jti: String,
}

/// Why an assertion is refused, in words for `error_description`.
pub type Why = String;

/// Checks everything and gives the client's id. `audiences` are the token URL by the names the client may know it.
pub async fn check(app: &App, assertion: &str, audiences: &[String]) -> Result<String, Why> {
    let header = jsonwebtoken::decode_header(assertion).map_err(|error| format!("Invalid JWT: {error}"))?;
    if !matches!(header.alg, Algorithm::RS384 | Algorithm::ES384) {
        return Err(format!("Invalid JWT: sign with RS384 or ES384, not {:?}", header.alg));
    }
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(assertion)
        .map_err(|error| format!("Invalid JWT: iss, sub, exp and jti are needed ({error})"))?;
    let client = app
        .read(|state| state.clients.get(&claims.iss).cloned())
        .ok_or_else(|| format!("There is no client {}: register it first", claims.iss))?;
    if claims.sub != claims.iss {
        return Err("Invalid JWT: iss and sub must both be the client id".to_owned());
    }
    let keys = keys(&client).await.map_err(|error| format!("{error:#}"))?;
    verify(assertion, &header, &keys, audiences)?;
    // By the server's clock, which a switch may put wrong.
    let now = door::now().timestamp() + app.switches.access.clock;
    if claims.exp + LEEWAY.cast_signed() < now {
        return Err(format!("Invalid JWT: ExpiredSignature (it is {now} here, and exp is {})", claims.exp));
    }
    if claims.exp > now + LONGEST + LEEWAY.cast_signed() {
        return Err("Invalid JWT: exp is more than five minutes ahead".to_owned());
    }
    let name = format!("{}/{}", claims.iss, claims.jti);
    // Remembered for as long as the signature check would still let it pass.
    let until = DateTime::from_timestamp(claims.exp - app.switches.access.clock + LEEWAY.cast_signed() + 1, 0)
        .ok_or("Invalid JWT: exp is no time")?;
    if app.change(|state, _| state.assertions.insert(name, until)).is_some() {
        return Err("Invalid JWT: this jti was used before".to_owned());
    }
    Ok(claims.iss)
}

async fn keys(client: &Client) -> anyhow::Result<Vec<Jwk>> {
    let set = match client {
        Client::Jwks(set) => set.clone(),
        Client::JwksUrl(url) => fetch(url).await.with_context(|| format!("cannot fetch the keys at {url}"))?,
    };
    let keys = set["keys"].as_array().context("the key set has no keys")?;
    // A set may hold keys of kinds unknown here; they are no reason to refuse the others.
    Ok(keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect())
}

async fn fetch(url: &str) -> anyhow::Result<Value> {
    let answer = door::http()?.get(url).send().await?.error_for_status()?;
    Ok(answer.json().await?)
}

fn verify(assertion: &str, header: &Header, keys: &[Jwk], audiences: &[String]) -> Result<(), Why> {
    let mut validation = Validation::new(header.alg);
    validation.set_audience(audiences);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    validation.validate_exp = false;
    let mut why = "Invalid JWT: no registered key has its kid".to_owned();
    for key in keys {
        let named = header.kid.is_none() || key.common.key_id == header.kid;
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        if !named {
            continue;
        }
        match jsonwebtoken::decode::<Value>(assertion, &key, &validation) {
            Ok(_) => return Ok(()),
            Err(error) => why = format!("Invalid JWT: {error}"),
        }
    }
    Err(why)
}
