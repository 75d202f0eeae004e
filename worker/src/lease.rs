//! The lease of this process, renewed on a thread and a connection of its own: a worker busy with loads must
//! not lose its work because its renewal had to wait for a thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use bulkhead_shared::db::{self, workers, workers::Process};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::watch, time};
use uuid::Uuid;

/// The worker's id at present; changes when the lease was lost and the process registered anew.
#[derive(Clone)]
pub struct Lease {
    id: watch::Receiver<Uuid>,
    /// A person asked this process to claim nothing more.
    drains: watch::Receiver<bool>,
    stop: Arc<AtomicBool>,
}

impl Lease {
    /// Registers this process and keeps its lease until `stop`.
    pub async fn start(database_url: &str, process: Process) -> anyhow::Result<Self> {
        let options = db::options(database_url, "bulkhead-lease")?;
        let mut connection = options.connect().await.context("cannot connect to Postgres for the worker's lease")?;
        let id = Uuid::now_v7();
        workers::register(&mut connection, id, &process, false).await?;
        let (sender, receiver) = watch::channel(id);
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, drains) = watch::channel(false);
        let keeper = Keeper { options, process, sender, tell, stop: Arc::clone(&stop) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // The connection belongs to the runtime that made it: the keeper makes its own.
        drop(connection);
        thread::Builder::new().name("lease".to_owned()).spawn(move || runtime.block_on(keeper.run()))?;
        Ok(Self { id: receiver, drains, stop })
    }

    /// Our id now.
    pub fn id(&self) -> Uuid {
        *self.id.borrow()
    }

    /// Waits until the id is another one than `known`: all work under `known` is lost.
    pub async fn lost(&self, known: Uuid) {
        let mut id = self.id.clone();
        if id.wait_for(|id| *id != known).await.is_err() {
            // The keeper ended, at shutdown only.
            std::future::pending::<()>().await;
        }
    }

    /// Whether a person asked this process to claim nothing more.
    pub fn drains(&self) -> bool {
        *self.drains.borrow()
    }

    /// Waits until a person asks this process to drain, or to go on.
    pub async fn until_drains(&self, drains: bool) {
        let mut asked = self.drains.clone();
        if asked.wait_for(|asked| *asked == drains).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Renews no more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Keeper {
    options: PgConnectOptions,
    process: Process,
    sender: watch::Sender<Uuid>,
    tell: watch::Sender<bool>,
    stop: Arc<AtomicBool>,
}

impl Keeper {
    async fn run(self) {
        let mut connection: Option<PgConnection> = None;
        let mut tick = time::interval(workers::RENEWAL);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            tick.tick().await;
            // A renewal that hangs is a renewal that failed.
            match time::timeout(workers::RENEWAL, self.renew(&mut connection)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => tracing::warn!(%error, "the worker's lease could not be renewed; trying again"),
                Err(_) => tracing::warn!("the renewal of the worker's lease took too long; trying again"),
            }
            connection = None;
            time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn renew(&self, connection: &mut Option<PgConnection>) -> sqlx::Result<()> {
        let db = match connection {
            Some(db) => db,
            None => connection.insert(self.options.connect().await?),
        };
        let id = *self.sender.borrow();
        let Some(drains) = workers::renew(&mut *db, id).await? else {
            let fresh = Uuid::now_v7();
            workers::register(&mut *db, fresh, &self.process, *self.tell.borrow()).await?;
            tracing::warn!("this worker's lease was over and its work was taken; it starts afresh");
            self.sender.send_replace(fresh);
            return Ok(());
        };
        if self.tell.send_if_modified(|known| std::mem::replace(known, drains) != drains) {
            let words = if drains { "an operator asked this worker to drain: it claims nothing more" } else { "this worker claims again" };
            tracing::info!("{words}");
        }
        Ok(())
    }
}
