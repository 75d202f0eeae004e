//! Who waits for an export's change is woken by one: the database notifies `bulkhead_exports` with the export's id, and one connection of
//! this process listens for everybody. A notification may be lost (a broken connection, a pooler in between), so whoever waits looks
//! again now and then in any case.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};
use uuid::Uuid;

const CHANNEL: &str = "bulkhead_exports";
/// Without news whoever waits looks again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Between two tries to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// The exports that somebody waits for.
#[derive(Debug, Default)]
struct Watched {
    exports: Mutex<HashMap<Uuid, watch::Sender<()>>>,
    /// Of who waits for any of them.
    any: watch::Sender<()>,
}

impl Watched {
    fn map(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<()>>> {
        self.exports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, export: Uuid) {
        self.any.send_replace(());
        if let Some(watchers) = self.map().get(&export) {
            watchers.send_replace(());
        }
    }

    /// Something may have been missed.
    fn all_changed(&self) {
        self.any.send_replace(());
        for watchers in self.map().values() {
            watchers.send_replace(());
        }
    }
}

/// One a process. Listens from when somebody first waits until it is dropped.
#[derive(Debug)]
pub struct Changes {
    pool: PgPool,
    watched: Arc<Watched>,
    listening: OnceLock<AbortHandle>,
}

impl Changes {
    pub fn of(pool: PgPool) -> Self {
        Self { pool, watched: Arc::default(), listening: OnceLock::new() }
    }

    /// Changes of an export from now on. Take it before looking, so that no change is missed in between.
    pub fn watch(&self, export: Uuid) -> Watch {
        self.listen();
        let receiver = self.watched.map().entry(export).or_insert_with(|| watch::channel(()).0).subscribe();
        Watch { export: Some(export), receiver: Some(receiver), watched: Arc::clone(&self.watched) }
    }

    /// Changes of all exports from now on.
    pub fn watch_any(&self) -> Watch {
        self.listen();
        Watch { export: None, receiver: Some(self.watched.any.subscribe()), watched: Arc::clone(&self.watched) }
    }

    fn listen(&self) {
        self.listening.get_or_init(|| tokio::spawn(listen(self.pool.clone(), Arc::clone(&self.watched))).abort_handle());
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.get() {
            listening.abort();
        }
    }
}

/// Somebody who waits for an export, or for any.
#[derive(Debug)]
pub struct Watch {
    export: Option<Uuid>,
    receiver: Option<watch::Receiver<()>>,
    watched: Arc<Watched>,
}

impl Watch {
    /// Now it is looked: only what changes after this counts.
    pub fn look(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.mark_unchanged();
        }
    }

    /// Waits for a change, but not beyond `deadline`, nor longer than a while: then it is time to look. Whether a change is known.
    pub async fn changed(&mut self, deadline: Instant) -> bool {
        let Some(receiver) = &mut self.receiver else { return false };
        timeout_at(deadline.min(Instant::now() + LOOK_AGAIN), receiver.changed()).await.is_ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(export) = self.export else { return };
        let mut map = self.watched.map();
        self.receiver = None;
        if map.get(&export).is_some_and(|watchers| watchers.receiver_count() == 0) {
            map.remove(&export);
        }
    }
}

async fn listen(pool: PgPool, watched: Arc<Watched>) {
    // A connection of its own: the pool's are for statements.
    let options = (*pool.connect_options()).clone().application_name("bulkhead-api-changes");
    let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    loop {
        if let Err(error) = follow(&own, &watched).await {
            tracing::warn!(%error, "cannot listen for changes of exports; whoever waits looks every few seconds");
        }
        sleep(PAUSE).await;
    }
}

/// Tells of changes until the connection breaks.
async fn follow(pool: &PgPool, watched: &Watched) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What happened before we listened was told to nobody.
    watched.all_changed();
    while let Some(change) = listener.try_recv().await? {
        if let Ok(export) = change.payload().parse() {
            watched.changed(export);
        }
    }
    Ok(())
}
