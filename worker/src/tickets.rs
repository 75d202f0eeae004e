//! apalis: wakes this process within milliseconds when there is work, and spreads the wake-ups over processes. Its jobs
//! are tickets; the handler takes a slot, claims, hands over and acknowledges.

use std::{sync::Arc, time::Duration};

use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use bulkhead_shared::{domain::stage::Lane, queue::Ticket};
use futures::{FutureExt as _, future::BoxFuture};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::runner::Runner;

/// Measured: a dead process' tickets are taken over after 6.6 s, a live one's are never stolen.
const HEARTBEAT: Duration = Duration::from_secs(2);
const MISSED_HEARTBEATS: usize = 3;

/// Delivers one lane's tickets to the runner until told to stop. An apalis worker ends at any database error or panic, so
/// this loop builds a new one, with a new name: apalis refuses one that it knows.
pub async fn deliver(lane: Lane, pool: PgPool, runner: Arc<Runner>, process: String, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = runner.lease.until_drains(false) => {}
            () = stop.cancelled() => return,
        }
        let ended = tokio::select! {
            ended = worker(lane, &pool, &runner, &process) => ended,
            // Whoever drains takes no tickets from others; one in the air is given up.
            () = runner.lease.until_drains(true) => continue,
            // A ticket in the air is delivered elsewhere after its worker's last heartbeat; nothing is lost with it.
            () = stop.cancelled() => return,
        };
        if let Err(error) = ended {
            tracing::warn!(%lane, %error, "the ticket delivery stopped; it starts again");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One apalis worker. Boxed here: the compiler cannot see through its future where it is spawned.
fn worker(lane: Lane, pool: &PgPool, runner: &Arc<Runner>, process: &str) -> BoxFuture<'static, Result<(), WorkerError>> {
    let config =
        Config::default().queue(lane.apalis_queue()).batch_size(1).heartbeat_interval(HEARTBEAT).missed_heartbeats(MISSED_HEARTBEATS);
    let backend = PostgresStorage::<Ticket>::new(pool).with_config(config).with_pubsub().poll_with_interval(Duration::from_millis(500));
    WorkerBuilder::new(format!("{process}:{lane}:{}", Ulid::new()))
        .backend(backend)
        .data(Arc::clone(runner))
        .concurrency(1)
        .build(move |ticket: Ticket, runner: Data<Arc<Runner>>| async move {
            runner.take_ticket(lane, ticket.stage_id).await;
            Ok::<(), BoxDynError>(())
        })
        .run()
        .boxed()
}
