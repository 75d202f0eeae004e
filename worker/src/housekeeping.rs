//! What every worker does beside its stages: sweep, purge, let orphans go.

use std::{sync::Arc, time::Duration};

use bulkhead_shared::{
    db::{exports, orphan_exports, sources, workers},
    queue::{self, bury_leftovers, clean_up_failed, purge, sweep},
};
use reqwest::Method;
use tokio::time::{self, Instant};

use crate::{
    fhir::{auth, http::Ask},
    runner::Runner,
    work::Tokens,
};

const SWEEP: Duration = Duration::from_secs(2);
const PURGE: Duration = Duration::from_secs(60);
/// Blobs without an export are looked at when they are this old.
const STRAY: Duration = Duration::from_secs(86_400);

/// Sweeps until the worker drains.
pub async fn sweep_regularly(runner: Arc<Runner>) {
    let mut last_good = Instant::now();
    loop {
        tokio::select! {
            () = runner.draining.cancelled() => return,
            () = time::sleep(SWEEP) => {}
        }
        // Postgres was away, and with it everybody's renewals: give them the time of a lease before judging.
        if last_good.elapsed() > 2 * SWEEP + Duration::from_secs(1) {
            match sqlx::query("SELECT 1").execute(&runner.env.pool).await {
                Ok(_) => time::sleep(workers::LEASE).await,
                Err(_) => continue,
            }
        }
        match runner.disown().await {
            Ok(stages) if stages > 0 => tracing::warn!(stages, "gave back stages that this worker does not run"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "could not compare the queue with what runs here; trying again"),
        }
        if let Err(error) = hand_back_sleeping(&runner).await {
            tracing::warn!(%error, "sleeping polls could not be handed back; trying again");
        }
        if let Err(error) = runner.look_for_downloads().await {
            tracing::warn!(%error, "could not look for downloads; trying again");
        }
        match sweep(&runner.env.pool, runner.free_slots(), runner.env.retry.retry_max_attempts).await {
            Ok(swept) => {
                last_good = Instant::now();
                for worker in &swept.workers_lost {
                    tracing::warn!(%worker, "a worker's lease is over");
                }
                if swept.stages_taken_back + swept.stages_buried > 0 {
                    tracing::warn!(taken_back = swept.stages_taken_back, buried = swept.stages_buried, "stages of lost workers");
                }
            }
            Err(error) => tracing::warn!(%error, "the sweep failed; trying again"),
        }
    }
}

/// A worker that was asked to drain keeps nothing that waits for its server.
async fn hand_back_sleeping(runner: &Runner) -> sqlx::Result<()> {
    if runner.lease.drains() {
        let polls = queue::hand_back_sleeping(&runner.env.pool, runner.lease.id()).await?;
        if polls > 0 {
            tracing::info!(polls, "sleeping polls were handed back");
        }
    }
    Ok(())
}

/// Purges and lets orphans go, about once a minute, until the worker drains.
pub async fn clean_regularly(runner: Arc<Runner>) {
    loop {
        tokio::select! {
            () = runner.draining.cancelled() => return,
            () = time::sleep(PURGE) => {}
        }
        match purge(&runner.env.pool).await {
            Ok(rows) if rows > 0 => tracing::debug!(rows, "purged"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the purge failed; trying again"),
        }
        if let Err(error) = bury_leftovers(&runner.env.pool).await {
            tracing::warn!(%error, "stages of failed exports could not be taken out of the queue; trying again");
        }
        if let Err(error) = clean_up_failed(&runner.env.pool, runner.env.blob_settings.retention_seconds()).await {
            tracing::warn!(%error, "the clean-up of failed exports could not be scheduled; trying again");
        }
        if let Err(error) = remove_stray_blobs(&runner).await {
            tracing::warn!(%error, "stray blobs could not be removed; trying again");
        }
        if let Err(error) = release_orphan(&runner).await {
            tracing::warn!(%error, "an orphaned export could not be released; trying again later");
        }
    }
}

/// Blobs of exports that were deleted: a process that was paused or killed in a download may have left them behind the clean-up.
async fn remove_stray_blobs(runner: &Runner) -> anyhow::Result<()> {
    let env = &runner.env;
    let old = env.blobs.exports_older_than(STRAY).await?;
    if old.is_empty() {
        return Ok(());
    }
    for export_id in exports::unknown(&env.pool, &old).await? {
        env.blobs.delete_export(export_id).await?;
        tracing::info!(%export_id, "blobs of an export that is gone were removed");
    }
    Ok(())
}

/// Tells a server to forget an export that nobody has: its status URL came after its stage had been taken over.
async fn release_orphan(runner: &Runner) -> anyhow::Result<()> {
    let env = &runner.env;
    let mut db = env.pool.acquire().await?;
    let Some(orphan) = orphan_exports::take_due(&mut db).await? else { return Ok(()) };
    drop(db);
    let source = sources::get(&env.pool, orphan.source_id).await?;
    let ask = Ask::new(Method::DELETE, orphan.status_url.parse()?);
    let answer = auth::send(&env.http, &Tokens::new(&env.pool, &env.cipher, &source), ask).await?;
    if answer.status().is_success() || matches!(answer.status().as_u16(), 404 | 410) {
        orphan_exports::set_released(&env.pool, orphan.id).await?;
    }
    Ok(())
}
