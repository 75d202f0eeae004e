//! The runner: owns all work. It claims, runs a stage's `work`, and alone writes what came of it.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bulkhead_shared::{
    domain::{
        failure::Reason,
        stage::{Lane, StageKind},
    },
    queue::{self, Claim, Fence, FinishError, FreeSlots, Outcome, StageError, Tail, Trouble, claim_best, claim_ticket},
};
use futures::FutureExt as _;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    environment::Environment,
    lease::Lease,
    polls::{Polls, Rows, Waiting},
    settings::WorkerSettings,
    stages,
    work::Work,
};

/// Control stages only wait for servers: many, so that those of a server that hangs do not block the others'.
pub const CONTROL_SLOTS: usize = 32;
/// How long a ticket may wait for a slot here before another process should have it.
const TICKET_PATIENCE: Duration = Duration::from_secs(2);

/// One a process.
pub struct Runner {
    pub env: Arc<Environment>,
    pub lease: Lease,
    control: Arc<Semaphore>,
    transfer: Arc<Semaphore>,
    load: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Claim nothing more.
    pub draining: CancellationToken,
    /// Stop at once; the stages are handed back.
    abort: CancellationToken,
    waiting: mpsc::Sender<Waiting>,
    pub polls: Arc<Polls>,
    /// A poll may be due: look now.
    pub polls_due: Notify,
    /// The claims that are being run.
    running: Mutex<HashSet<Uuid>>,
    /// Those that were being run at the last sweep.
    ran_before: Mutex<HashSet<Uuid>>,
}

impl Runner {
    pub fn new(
        env: Arc<Environment>,
        lease: Lease,
        settings: &WorkerSettings,
        polls: Arc<Polls>,
        waiting: mpsc::Sender<Waiting>,
    ) -> Arc<Self> {
        Arc::new(Self {
            env,
            lease,
            control: Arc::new(Semaphore::new(CONTROL_SLOTS)),
            transfer: Arc::new(Semaphore::new(settings.transfers as usize)),
            load: Arc::new(Semaphore::new(settings.loads as usize)),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            abort: CancellationToken::new(),
            waiting,
            polls,
            polls_due: Notify::new(),
            running: Mutex::default(),
            ran_before: Mutex::default(),
        })
    }

    fn slots(&self, lane: Lane) -> &Arc<Semaphore> {
        match lane {
            Lane::Control | Lane::Poll => &self.control,
            Lane::Transfer => &self.transfer,
            Lane::Load => &self.load,
        }
    }

    /// How much more this process could run.
    pub fn free_slots(&self) -> FreeSlots {
        if self.lease.drains() {
            return FreeSlots::default();
        }
        let free = |lane| i64::try_from(self.slots(lane).available_permits()).unwrap_or(0);
        FreeSlots { control: free(Lane::Control), transfer: free(Lane::Transfer), load: free(Lane::Load) }
    }

    /// A ticket came. Without a free slot it is dropped after a while: whoever frees a slot claims without a ticket, and the
    /// sweeper of an idle process issues another.
    pub async fn take_ticket(self: &Arc<Self>, lane: Lane, stage_id: Uuid) {
        let Ok(Ok(permit)) = tokio::time::timeout(TICKET_PATIENCE, Arc::clone(self.slots(lane)).acquire_owned()).await else {
            self.give_ticket_up(stage_id).await;
            return;
        };
        if self.draining.is_cancelled() || self.lease.drains() {
            self.give_ticket_up(stage_id).await;
            return;
        }
        match claim_ticket(&self.env.pool, self.lease.id(), lane, stage_id).await {
            Ok(Some(claim)) => self.spawn(lane, claim, permit),
            Ok(None) => {}
            Err(error) => tracing::warn!(%lane, %error, "could not claim; the sweeper will issue another ticket"),
        }
    }

    /// Fills a free slot for downloads without a ticket: a source that was at its limit, or was left alone for a while, may have
    /// work again, and its tickets were answered while it had none.
    pub async fn look_for_downloads(self: &Arc<Self>) -> sqlx::Result<()> {
        if self.lease.drains() {
            return Ok(());
        }
        let Ok(permit) = Arc::clone(self.slots(Lane::Transfer)).try_acquire_owned() else { return Ok(()) };
        if let Some(claim) = claim_best(&self.env.pool, self.lease.id(), Lane::Transfer).await? {
            self.spawn(Lane::Transfer, claim, permit);
        }
        Ok(())
    }

    async fn give_ticket_up(&self, stage_id: Uuid) {
        if let Err(error) = queue::forget_ticket(&self.env.pool, stage_id).await {
            tracing::debug!(%error, "a ticket was not given up; it counts as unanswered in a minute");
        }
    }

    /// Runs a claimed stage in a slot, then whatever else is due in its lane: a slot that is free needs no ticket.
    fn spawn(self: &Arc<Self>, lane: Lane, claim: Claim, permit: OwnedSemaphorePermit) {
        let runner = Arc::clone(self);
        self.tasks.spawn(async move {
            let mut next = Some(claim);
            while let Some(claim) = next {
                runner.run(claim, None).await;
                next = if runner.draining.is_cancelled() || runner.lease.drains() {
                    None
                } else {
                    claim_best(&runner.env.pool, runner.lease.id(), lane).await.unwrap_or_else(|error| {
                        tracing::warn!(%lane, %error, "could not claim; the sweeper will issue a ticket");
                        None
                    })
                };
            }
            drop(permit);
        });
    }

    /// Runs a poll that was begun, in a task of its own.
    pub fn spawn_poll(self: &Arc<Self>, claim: Claim, rows: Option<Rows>) {
        let runner = Arc::clone(self);
        self.tasks.spawn(async move {
            let (source, claim_id) = (claim.source_id, claim.claim_id);
            let kept = runner.run(claim, rows).await;
            runner.polls.ended(source, claim_id, kept);
        });
    }

    /// One attempt of one stage, from its rows to its finish. Says whether the claim is kept: it waits.
    async fn run(&self, claim: Claim, rows: Option<Rows>) -> bool {
        let span = tracing::info_span!("stage", kind = %claim.kind, export_id = %claim.export_id, attempt = claim.attempt);
        let (worker_id, claim_id, kind) = (claim.worker_id, claim.claim_id, claim.kind);
        self.running().insert(claim_id);
        let kept = tokio::select! {
            kept = self.attempt(claim, rows).instrument(span) => kept,
            // A kick-off is not given up: whatever its server answers must be kept, if only as an orphan. The fence guards the rest.
            () = self.lease.lost(worker_id), if kind != StageKind::KickOff => {
                tracing::warn!("a stage was given up: this worker's lease was over");
                false
            }
            () = self.abort.cancelled() => false,
        };
        self.running().remove(&claim_id);
        kept
    }

    fn running(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what the queue says this worker runs, and it does not: a claim whose commit was answered to nobody, or
    /// a database that was restored to an earlier time under a worker that lives on.
    pub async fn disown(&self) -> sqlx::Result<u64> {
        let now = self.running().clone();
        // What ran at the last sweep may have a snooze on its way to the database.
        let before = std::mem::replace(&mut *self.ran_before.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        let mut known: Vec<Uuid> = now.union(&before).copied().collect();
        known.extend(self.polls.held());
        queue::disown(&self.env.pool, self.lease.id(), &known).await
    }

    async fn attempt(&self, claim: Claim, rows: Option<Rows>) -> bool {
        let kind = claim.kind;
        let stage = stages::stage(kind);
        let fence = Fence { claim, worker_name: self.env.worker_name.clone(), max_attempts: self.env.retry.retry_max_attempts };
        tracing::debug!("starts");
        let worked = async {
            let work = match rows {
                Some(rows) => Work::with(&self.env, &fence, rows),
                None => Work::of(&self.env, &fence).await?,
            };
            stage.work(&work).await
        };
        // A task of its own would outlive us when we are dropped; a panic is caught where it happens.
        let worked = tokio::time::timeout(stage.time_limit(), AssertUnwindSafe(worked).catch_unwind()).await;
        let result = match worked {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => {
                Err(StageError::Retry(Trouble::new(Reason::Internal, format!("The {kind} stage panicked."), queue::REPORT), None))
            }
            Err(_) => Err(StageError::Retry(
                Trouble::new(
                    Reason::Unreachable,
                    format!("Timeout exceeded: the {kind} stage took longer than {} s.", stage.time_limit().as_secs()),
                    "check the network and the server, then retry the export",
                ),
                None,
            )),
        };
        match &result {
            Err(StageError::Retry(trouble, _)) => tracing::warn!(error = %trouble.detail, "will be tried again"),
            Err(StageError::Fail(trouble)) => tracing::error!(error = %trouble.detail, "failed"),
            Err(StageError::Again(message, _)) => tracing::info!(%message, "again later"),
            Err(StageError::Lost) => tracing::info!("taken over or cancelled meanwhile"),
            Ok(_) => tracing::debug!("done"),
        }
        if let Ok(Outcome::Snooze(snooze)) = result {
            // The batch is written by a task that ends after us; if it is gone the sweeper takes the stage back.
            let _ = self.waiting.send(Waiting { claim: fence.claim, snooze, since: Instant::now() }).await;
            return kind == StageKind::Poll;
        }
        self.record(&fence, result).await;
        if matches!(kind, StageKind::KickOff | StageKind::Poll) {
            self.polls_due.notify_one();
        }
        false
    }

    /// Writes what came of it, however long Postgres is away: work that is done is not done again for that.
    async fn record(&self, fence: &Fence, result: Result<Outcome, StageError>) {
        let backoff = self.env.retry.backoff(fence.claim.attempt);
        let (tail, error): (Option<Box<dyn Tail>>, Option<StageError>) = match result {
            Ok(Outcome::DoneIn(mut connection, tail)) => match queue::finish_in(&mut connection, fence, &*tail).await {
                Ok(()) => return self.env.loads.give_back(*connection).await,
                Err(FinishError::Lost) => return,
                // The commit may have gone through: then the stage is done and what follows changes nothing.
                Err(FinishError::Sql(error)) => (None, Some(error.into())),
            },
            Ok(Outcome::Done(tail)) => (Some(tail), None),
            // What waits is written in a batch, by the caller.
            Ok(Outcome::Snooze(_)) | Err(StageError::Lost) => return,
            Err(error) => (None, Some(error)),
        };
        let (mut error, mut plain) = (error, false);
        loop {
            let result = match (&tail, &error) {
                (_, Some(error)) => Err(error),
                (Some(tail), None) => Ok(&**tail),
                (None, None) => return,
            };
            match queue::finish(&self.env.pool, fence, result, backoff).await {
                Ok(()) => return,
                Err(FinishError::Lost) => {
                    tracing::info!("taken over or cancelled meanwhile; its result does not count");
                    return;
                }
                Err(FinishError::Sql(cause)) => match StageError::from(cause) {
                    StageError::Again(message, delay) => {
                        tracing::info!(%message, "the result will be written later");
                        tokio::time::sleep(delay.min(Duration::from_secs(1))).await;
                    }
                    other if error.is_none() => error = Some(other),
                    // Not even the error can be written: once more without any words of others.
                    other if !plain => {
                        tracing::error!(error = %other, "the result cannot be written");
                        plain = true;
                        let trouble = Trouble::new(
                            Reason::Internal,
                            format!("The result of {} could not be recorded.", fence.claim.kind),
                            queue::REPORT,
                        );
                        error = Some(StageError::Fail(trouble));
                    }
                    other => {
                        tracing::error!(error = %other, "the result cannot be written; the stage is given back");
                        return;
                    }
                },
            }
        }
    }

    /// Claims nothing more and waits for the running stages, at most so long; then stops them.
    pub async fn drain(&self, grace: Duration) {
        self.draining.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}
