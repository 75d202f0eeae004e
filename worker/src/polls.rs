//! Polls: claimed straight from the queue, many at once; those that wait are put to sleep in batches.

use std::{sync::Arc, time::Duration};

use bulkhead_shared::{
    db,
    queue::{Claim, Snooze, claim_polls, snooze_all},
};
use sqlx::PgPool;
use tokio::{
    sync::{Semaphore, mpsc},
    time,
};

use crate::runner::Runner;

/// Status requests under way at once.
const POLLS: usize = 64;
/// How often due polls are looked for.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long snoozes are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(20);

/// Claims due polls until the worker drains.
pub async fn claim_due(runner: Arc<Runner>) {
    let slots = Arc::new(Semaphore::new(POLLS));
    loop {
        tokio::select! {
            () = runner.draining.cancelled() => return,
            () = runner.polls_due.notified() => {}
            () = time::sleep(INTERVAL) => {}
        }
        let free = i64::try_from(slots.available_permits()).unwrap_or(0);
        if free == 0 {
            continue;
        }
        match claim_polls(&runner.env.pool, runner.lease.id(), free).await {
            Ok(claims) => {
                for claim in claims {
                    // Only this loop takes permits, and never more than were free.
                    let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
                    runner.spawn_poll(claim, permit);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not look for due polls; trying again");
                time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Writes snoozes, as many together as come within a moment, until all senders are gone.
pub async fn write_snoozes(pool: PgPool, mut snoozes: mpsc::Receiver<(Claim, Snooze)>) {
    while let Some(first) = snoozes.recv().await {
        let mut batch = vec![first];
        time::sleep(GATHER).await;
        while batch.len() < 1000
            && let Ok(next) = snoozes.try_recv()
        {
            batch.push(next);
        }
        write_batch(&pool, &batch).await;
    }
}

/// A batch, however long Postgres is away. What Postgres refuses is written one by one, so that one does not keep the others awake;
/// a stage whose snooze is refused is given back by the next sweep.
async fn write_batch(pool: &PgPool, batch: &[(Claim, Snooze)]) {
    loop {
        match snooze_all(pool, batch).await {
            Ok(()) => return,
            Err(error) if db::is_away(&error) => {
                tracing::warn!(%error, "waiting stages could not be put to sleep; trying again");
                time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                tracing::error!(%error, "Postgres refuses a batch of waiting stages; writing them one by one");
                break;
            }
        }
    }
    for one in batch {
        if let Err(error) = snooze_all(pool, std::slice::from_ref(one)).await {
            tracing::error!(%error, export_id = %one.0.export_id, "a waiting stage could not be put to sleep");
        }
    }
}
