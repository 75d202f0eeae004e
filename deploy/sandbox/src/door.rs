//! The one door to the clock, to secrets' randomness and to HTTP clients.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use rand::Rng as _;

#[expect(clippy::disallowed_methods, reason = "the door itself")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// 256 random bits in hexadecimal.
pub fn secret() -> String {
    let bits: [u128; 2] = rand::rng().random();
    format!("{:032x}{:032x}", bits[0], bits[1])
}

/// The client that fetches registered `jwks_url`s.
#[expect(clippy::disallowed_methods, reason = "the door itself")]
pub fn http() -> Result<&'static reqwest::Client> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(10)).build().context("cannot make an HTTP client")?;
    Ok(CLIENT.get_or_init(|| client))
}
