//! The life of a worker process.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use bulkhead_shared::{
    blob::Blobs,
    db::{self, workers},
    domain::stage::Lane,
    queue,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::{
    environment::Environment,
    fhir::http::Http,
    housekeeping,
    lease::Lease,
    load::{buffers::Buffers, connections::Connections},
    polls::{self, Polls},
    runner::{CONTROL_SLOTS, Runner},
    settings::WorkerSettings,
    tickets,
};

/// Connections of the pool that is not loads: claims, finishes, sweeps.
const CONTROL_CONNECTIONS: u32 = 6;

/// Runs until SIGTERM or SIGINT, then drains: running stages finish or are handed back within the grace period.
pub async fn run(settings: WorkerSettings) -> anyhow::Result<()> {
    let url = &settings.database.database_url;
    let cipher = settings.secrets.cipher()?;
    let blobs = Blobs::in_folder(&settings.blobs.bulk_data_dir, settings.blobs.bulk_data_compression)
        .context("the folder for downloaded files (BULK_DATA_DIR) cannot be used; point it at one this user may write to")?;
    let pool = db::pool(url, "bulkhead-worker", CONTROL_CONNECTIONS)?;
    db::check_connection(&pool, url).await?;
    db::check_version(&pool).await?;
    let name = format!("{}:{}:{}", hostname(), std::process::id(), Ulid::new());
    let env = Arc::new(Environment {
        pool: pool.clone(),
        loads: Connections::to(url)?,
        buffers: Buffers::default(),
        worker_name: name.clone(),
        http: Http::new(&settings.http, &settings.limits, settings.outgoing.rules())?,
        blobs,
        cipher,
        retry: settings.retry.clone(),
        blob_settings: settings.blobs.clone(),
        limits: settings.limits.clone(),
        search: settings.search.clone(),
    });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let process = workers::Process {
        name: name.clone(),
        control_slots: i32::try_from(CONTROL_SLOTS).unwrap_or(i32::MAX),
        transfer_slots: i32::try_from(settings.transfers).unwrap_or(i32::MAX),
        load_slots: i32::try_from(settings.loads).unwrap_or(i32::MAX),
    };
    let lease = Lease::start(url, process).await?;
    let (sender, waiting) = mpsc::channel(1024);
    let polls = Arc::new(Polls::default());
    let runner = Runner::new(env, lease.clone(), &settings, Arc::clone(&polls), sender);
    let stop_tickets = CancellationToken::new();

    let mut deliveries = tokio::task::JoinSet::new();
    // Each lane's LISTEN pins a connection for good; two more fetch and acknowledge.
    let listen = db::pool(url, "bulkhead-tickets", 5)?;
    for lane in Lane::TICKETED {
        deliveries.spawn(tickets::deliver(lane, listen.clone(), Arc::clone(&runner), name.clone(), stop_tickets.clone()));
    }
    tokio::spawn(polls::adopt_due(Arc::clone(&runner)));
    tokio::spawn(polls::ask_awake(Arc::clone(&runner)));
    tokio::spawn(housekeeping::sweep_regularly(Arc::clone(&runner)));
    tokio::spawn(housekeeping::clean_regularly(Arc::clone(&runner)));
    let sleepers = tokio::spawn(polls::write_waiting(pool.clone(), polls, waiting));
    tracing::info!(worker = %name, "the worker runs");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining: no more stages are claimed");
    stop_tickets.cancel();
    if let Err(error) = workers::set_draining(&pool, lease.id()).await {
        tracing::warn!(%error, "could not note that this worker drains");
    }
    runner.drain(settings.grace_period).await;
    deliveries.shutdown().await;
    // With the runner go the senders of snoozes; what they sent last is written before the rest is handed back.
    drop(runner);
    let _ = tokio::time::timeout(Duration::from_secs(2), sleepers).await;
    let drained = queue::hand_back(&pool, lease.id()).await;
    match drained {
        Ok(0) => tracing::info!("drained: every stage was finished"),
        Ok(handed_back) => tracing::info!(handed_back, "drained: the rest was handed back"),
        Err(error) => tracing::warn!(%error, "could not hand stages back; they are taken back when the lease is over"),
    }
    lease.stop();
    if let Err(error) = workers::end(&pool, lease.id()).await {
        tracing::warn!(%error, "could not end the lease; it ends by itself");
    }
    Ok(())
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "host".to_owned(), |name| name.trim().to_owned())
}
