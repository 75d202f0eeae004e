//! Wakes workers for what was taken in. An export is committed without a ticket: tickets are hints whose notifications make commits queue up,
//! so they are issued behind the answer, many together.

use std::{sync::OnceLock, time::Duration};

use bulkhead_shared::{domain::stage::Lane, queue};
use sqlx::PgPool;
use tokio::{sync::mpsc, time::sleep};
use uuid::Uuid;

/// How long stages are gathered after the first.
const GATHER: Duration = Duration::from_millis(5);
/// Wake-ups at once: a worker that is awake takes what is due without tickets.
const TICKETS: usize = 32;

/// One a process.
#[derive(Debug)]
pub struct Announcer {
    pool: PgPool,
    stages: OnceLock<mpsc::UnboundedSender<Uuid>>,
}

impl Announcer {
    pub fn of(pool: PgPool) -> Self {
        Self { pool, stages: OnceLock::new() }
    }

    /// These stages of the control lane are committed and due.
    pub fn announce(&self, stages: Vec<Uuid>) {
        let sender = self.stages.get_or_init(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(issue(self.pool.clone(), receiver));
            sender
        });
        for stage in stages {
            // The task ends after its senders.
            let _ = sender.send(stage);
        }
    }
}

async fn issue(pool: PgPool, mut stages: mpsc::UnboundedReceiver<Uuid>) {
    while let Some(first) = stages.recv().await {
        sleep(GATHER).await;
        let mut batch = vec![first];
        while let Ok(next) = stages.try_recv() {
            batch.push(next);
        }
        batch.truncate(TICKETS);
        if let Err(error) = queue::announce(&pool, Lane::Control, &batch).await {
            tracing::warn!(%error, "no worker was woken for new exports; a sweeper does it within seconds");
        }
    }
}
