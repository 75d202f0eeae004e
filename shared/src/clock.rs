//! The one door to time and chance.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng as _;

/// The wall clock. Due times in the queue come from Postgres' `clock_timestamp()` instead, so that
/// replicas whose clocks differ agree.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A random duration in `0..=ceiling` ("full jitter").
#[must_use]
pub fn jitter(ceiling: Duration) -> Duration {
    ceiling.mul_f64(rand::rng().random_range(0.0..=1.0))
}

/// 256 random bits.
#[must_use]
pub fn random_bytes() -> [u8; 32] {
    rand::rng().random()
}
