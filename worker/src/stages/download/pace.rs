//! How many downloads at once a server bears: it says so itself, by 429 and 503.
//!
//! Each such refusal halves the source's limit (at most once a second) and stops all its downloads for as long as the server
//! asks; each ten seconds without one let another download begin (`sources::slow_down`, `sources::speed_up`). What is under
//! way goes on.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::export_events::EventLevel,
    queue::{Fenced, StageError, Tail, Written},
};

use crate::{fhir::answer::Refusal, work::Work};

pub const SLOW_DOWN: &str = "the server asks to slow down";
/// Of a 429 that does not say how long.
pub const PAUSE: Duration = Duration::from_secs(10);
/// The refused file waits as long as it was told, the others no longer than this: one of them then asks whether it still holds.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// While the server is left alone no file of it is asked for.
pub fn wait_for_server(work: &Work) -> Result<(), StageError> {
    if work.source.paused.is_zero() { Ok(()) } else { Err(StageError::Again(SLOW_DOWN.to_owned(), work.source.paused)) }
}

/// A file was refused: perhaps because there are too many at once.
pub async fn was_refused(work: &Work, refusal: &Refusal) -> Result<(), StageError> {
    let pause = match refusal.status {
        429 => refusal.retry_after.unwrap_or(PAUSE),
        // Without Retry-After it may be this file alone; it backs off by itself.
        503 => refusal.retry_after.unwrap_or_default(),
        404 => Duration::ZERO,
        _ => return Ok(()),
    };
    let Some(now) = work.slow_down(pause.min(LONGEST_PAUSE)).await else { return Ok(()) };
    let message = format!("The server asks to slow down: {} at once from now on.", downloads(now));
    work.checkpoint(&Told(EventLevel::Warning, message)).await
}

/// A file came without trouble.
pub async fn went_well(work: &Work) -> Result<(), StageError> {
    let Some(now) = work.speed_up().await else { return Ok(()) };
    let message = format!("The server bears it well: {} at once from now on.", downloads(now));
    work.checkpoint(&Told(EventLevel::Info, message)).await
}

fn downloads(n: i32) -> String {
    if n == 1 { "1 download".to_owned() } else { format!("{n} downloads") }
}

struct Told(EventLevel, String);

#[async_trait]
impl Tail for Told {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        tx.tell(self.0, &self.1).await?;
        Ok(Written::Done)
    }
}
