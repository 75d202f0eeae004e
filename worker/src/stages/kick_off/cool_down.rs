//! Servers that may not be asked again for some time: "requested this Group too recently", or 429. Kept for the source and the operation,
//! so that no other export asks before; waiting is never an attempt.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{cool_downs, export_events::EventLevel},
    queue::{Fenced, Outcome, Snooze, StageError, Tail, Written},
};
use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::{
    fhir::{answer::Refusal, outcome::OperationOutcome},
    limits,
    work::Work,
};

/// Epic allows one export of a Group in 24 hours, and does not say how much of them is left.
const TOO_RECENTLY: Duration = Duration::from_secs(24 * 3600);
const SHORTEST: Duration = Duration::from_secs(1);
/// An operator may have removed the cool-down, or the server been wrong about it.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// What is left of a refusal that this or another export has met.
pub async fn left(work: &Work) -> Result<Option<Snooze>, StageError> {
    let Some(cool_down) = work.cool_down().await? else { return Ok(None) };
    let delay = cool_down.left.min(LOOK_AGAIN) + Duration::from_millis(100);
    Ok(Some(Snooze { delay, progress: Some(shown(cool_down.until, &cool_down.words)) }))
}

/// Whether the server means "not now": how long, if it says so.
pub fn asked_for(refusal: &Refusal, otherwise: Duration) -> Option<Duration> {
    let too_recently = refusal.outcome.as_ref().is_some_and(OperationOutcome::is_too_recent);
    match refusal.status {
        400..=499 if too_recently => Some(refusal.retry_after.unwrap_or(TOO_RECENTLY)),
        429 => Some(refusal.retry_after.unwrap_or(otherwise)),
        _ => None,
    }
}

/// Keeps the refusal, and waits.
pub async fn wait(work: &Work, refusal: &Refusal, delay: Duration) -> Result<Outcome, StageError> {
    // Waiting is never an attempt, and yet it comes to an end.
    limits::export_time(&work.export, work.limits())?;
    let delay = delay.max(SHORTEST);
    let words = refusal.words();
    work.checkpoint(&Cooling { source: work.source.id, operation: work.export.ask.operation(), delay, words: words.clone() }).await?;
    let until = bulkhead_shared::clock::now() + delay;
    Ok(Outcome::Snooze(Snooze { delay: delay.min(LOOK_AGAIN), progress: Some(shown(until, &words)) }))
}

fn shown(until: DateTime<Utc>, words: &str) -> String {
    let text = format!("may be asked again at {}: {words}", until.to_rfc3339_opts(SecondsFormat::Secs, true));
    text.chars().take(200).collect()
}

struct Cooling {
    source: Uuid,
    operation: String,
    delay: Duration,
    words: String,
}

#[async_trait]
impl Tail for Cooling {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        // A server that says "in a second" for a week is told of once.
        if !cool_downs::was_just(&mut *tx.db(), self.source, &self.operation).await? {
            tx.tell(EventLevel::Warning, &format!("The server refuses the export for now: {}.", self.words)).await?;
        }
        cool_downs::set(tx.db(), self.source, &self.operation, self.delay, &self.words).await?;
        Ok(Written::Done)
    }
}
