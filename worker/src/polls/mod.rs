//! Polls have no tickets. A worker takes due ones straight from the queue and keeps them: what waits for its server sleeps in memory, wakes
//! in batches and is put to sleep in batches, so that 10,000 waiting exports cost a few statements a second.

mod sleepers;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bulkhead_shared::{
    db::{self, exports, sources},
    domain::{export::Export, source::Source, stage::StageKind},
    queue::{self, Claim, Snooze, snooze_all},
};
use sqlx::PgPool;
use tokio::{
    sync::{Notify, mpsc},
    time::{self, Instant},
};
use uuid::Uuid;

use crate::runner::Runner;
use sleepers::Sleepers;

/// A process holds no more; whoever has room takes the next.
const HELD: usize = 20_000;
/// While more than these wait for their turn here, another process may be quicker.
const BACKLOG: usize = 256;
/// While more than these of one source wait, its server hangs or is slow: no more of them are taken, and those of others are.
const CROWD: usize = 64;
/// How often due polls are looked for in the queue.
const INTERVAL: Duration = Duration::from_millis(250);
/// Sleepers wake in steps of this, together.
const TICK: Duration = Duration::from_millis(50);
/// How long snoozes are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_secs(1);

/// The polls this process holds.
#[derive(Default)]
pub struct Polls {
    sleepers: Mutex<Sleepers>,
    /// Somebody may begin.
    ready: Notify,
}

impl Polls {
    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Their claims.
    pub fn held(&self) -> HashSet<Uuid> {
        self.sleepers().held().clone()
    }

    /// No more can be held here.
    fn is_full(&self) -> bool {
        self.sleepers().held().len() >= HELD
    }

    /// A request is over. Its poll is kept if it was sent to sleep.
    pub fn ended(&self, source: Uuid, claim_id: Uuid, kept: bool) {
        let mut sleepers = self.sleepers();
        sleepers.ended(source);
        if !kept {
            sleepers.forget(claim_id);
        }
        if sleepers.waiting() > 0 {
            self.ready.notify_one();
        }
    }
}

/// What a stage's work begins with, read for many at once.
pub struct Rows {
    pub export: Export,
    pub source: Source,
}

/// A stage that waits, on its way to the database.
pub struct Waiting {
    pub claim: Claim,
    pub snooze: Snooze,
    /// When it was told to.
    pub since: Instant,
}

/// Takes due polls from the queue until the worker drains.
pub async fn adopt_due(runner: Arc<Runner>) {
    loop {
        tokio::select! {
            () = runner.draining.cancelled() => return,
            () = runner.polls_due.notified() => {}
            () = time::sleep(INTERVAL) => {}
        }
        let (crowded, room) = {
            let sleepers = runner.polls.sleepers();
            let (crowded, others) = sleepers.crowds(CROWD);
            (crowded, BACKLOG.saturating_sub(others).min(HELD.saturating_sub(sleepers.held().len())))
        };
        if room == 0 {
            continue;
        }
        match queue::adopt(&runner.env.pool, runner.lease.id(), &crowded, i64::try_from(room).unwrap_or(0)).await {
            Ok(claims) if claims.is_empty() => {}
            Ok(claims) => {
                // As many as there was room for: there may be more.
                if claims.len() == room {
                    runner.polls_due.notify_one();
                }
                runner.polls.sleepers().adopt(claims);
                runner.polls.ready.notify_one();
            }
            Err(error) => {
                tracing::warn!(%error, "could not look for due polls; trying again");
                time::sleep(PAUSE).await;
            }
        }
    }
}

/// Asks for those whose time has come, until the worker drains.
pub async fn ask_awake(runner: Arc<Runner>) {
    let mut worker_id = runner.lease.id();
    loop {
        let idle = runner.polls.sleepers().next().is_none();
        tokio::select! {
            () = runner.draining.cancelled() => return,
            () = runner.polls.ready.notified() => {}
            () = time::sleep(if idle { PAUSE } else { TICK }) => {}
        }
        let taken = {
            let mut sleepers = runner.polls.sleepers();
            if worker_id != runner.lease.id() {
                worker_id = runner.lease.id();
                sleepers.forget_others(worker_id);
            }
            sleepers.wake(Instant::now());
            sleepers.take()
        };
        if !taken.is_empty() {
            begin(&runner, taken).await;
        }
    }
}

/// Counts their attempts, reads their rows, and lets them go.
async fn begin(runner: &Arc<Runner>, claims: Vec<Claim>) {
    let begun = match queue::begin(&runner.env.pool, &claims).await {
        Ok(begun) => begun,
        Err(error) => {
            tracing::warn!(%error, "polls could not be begun; trying again");
            runner.polls.sleepers().put_back(claims);
            time::sleep(PAUSE).await;
            return;
        }
    };
    // Without them each reads its own.
    let mut rows = rows(&runner.env.pool, &claims).await.unwrap_or_default();
    for mut claim in claims {
        if begun.contains(&claim.stage_id) {
            claim.attempt += 1;
            let rows = rows.remove(&claim.export_id);
            runner.spawn_poll(claim, rows);
        } else {
            // Cancelled, deleted or taken over while it slept.
            runner.polls.ended(claim.source_id, claim.claim_id, false);
        }
    }
}

async fn rows(pool: &PgPool, claims: &[Claim]) -> sqlx::Result<HashMap<Uuid, Rows>> {
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.export_id).collect();
    let exports = exports::get_many(pool, &ids).await?;
    let ids: HashSet<Uuid> = exports.iter().map(|export| export.source_id).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let sources: HashMap<Uuid, Source> = sources::get_many(pool, &ids).await?.into_iter().map(|source| (source.id, source)).collect();
    Ok(exports
        .into_iter()
        .filter_map(|export| {
            let source = sources.get(&export.source_id)?.clone();
            Some((export.id, Rows { export, source }))
        })
        .collect())
}

/// Writes what waits, as many together as come within a moment, until all senders are gone.
pub async fn write_waiting(pool: PgPool, polls: Arc<Polls>, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(first) = waiting.recv().await {
        let mut batch = vec![first];
        time::sleep(GATHER).await;
        while batch.len() < 1000
            && let Ok(next) = waiting.try_recv()
        {
            batch.push(next);
        }
        let (asleep, back): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| one.claim.kind == StageKind::Poll);
        if polls.is_full() {
            give_back(&pool, &polls, asleep).await;
        } else {
            put_to_sleep(&pool, &polls, asleep).await;
        }
        write(&pool, &back, snooze).await;
    }
}

/// Polls are kept; they sleep from when their rows say so.
async fn put_to_sleep(pool: &PgPool, polls: &Polls, batch: Vec<Waiting>) {
    let asleep = write(pool, &batch, queue::sleep).await;
    for one in batch {
        let (until, mut claim) = (one.since + one.snooze.delay, one.claim);
        if asleep.contains(&claim.stage_id) {
            claim.attempt = 0;
            claim.snoozes += 1;
            polls.sleepers().sleep(until, claim);
        } else {
            // Taken over, or refused: then the next sweep finds that nobody holds it.
            polls.sleepers().forget(claim.claim_id);
        }
    }
}

/// There are more than one process may hold: these go back, and those that nobody holds yet get their turn.
async fn give_back(pool: &PgPool, polls: &Polls, batch: Vec<Waiting>) {
    write(pool, &batch, snooze).await;
    for one in batch {
        polls.sleepers().forget(one.claim.claim_id);
    }
}

/// Back into the queue; nobody holds them.
async fn snooze(pool: &PgPool, waiting: &[(Claim, Snooze)]) -> sqlx::Result<HashSet<Uuid>> {
    snooze_all(pool, waiting).await.map(|()| HashSet::new())
}

/// Writes a batch, however long Postgres is away. What Postgres refuses is written one by one, so that one does not keep the others
/// awake; a stage whose snooze is refused is given back by the next sweep.
async fn write(
    pool: &PgPool,
    batch: &[Waiting],
    statement: impl AsyncFn(&PgPool, &[(Claim, Snooze)]) -> sqlx::Result<HashSet<Uuid>>,
) -> HashSet<Uuid> {
    if batch.is_empty() {
        return HashSet::new();
    }
    loop {
        let left: Vec<_> = batch.iter().map(Waiting::left).collect();
        match statement(pool, &left).await {
            Ok(written) => return written,
            Err(error) if db::is_away(&error) => {
                tracing::warn!(%error, "waiting stages could not be put to sleep; trying again");
                time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::error!(%error, "Postgres refuses a batch of waiting stages; writing them one by one");
                break;
            }
        }
    }
    let mut all = HashSet::new();
    for one in batch {
        match statement(pool, &[one.left()]).await {
            Ok(written) => all.extend(written),
            Err(error) => tracing::error!(%error, export_id = %one.claim.export_id, "a waiting stage could not be put to sleep"),
        }
    }
    all
}

impl Waiting {
    /// Its claim, and what is left to wait.
    fn left(&self) -> (Claim, Snooze) {
        let delay = self.snooze.delay.saturating_sub(self.since.elapsed());
        (self.claim.clone(), Snooze { delay, progress: self.snooze.progress.clone() })
    }
}
