//! The service's log tells every export's story: `docker-compose logs etl-service` shows transitions and failures, whichever
//! worker they happened in.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bulkhead_shared::db::export_events::{self, Event};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PAUSE: Duration = Duration::from_secs(1);
const PAGE: i64 = 1000;
/// Ids are given at insert and seen at commit, so an earlier id may appear later: this long it is looked for.
const LATE: Duration = Duration::from_secs(15);

/// Logs new sentences until the service stops.
pub async fn log(pool: PgPool, stopping: CancellationToken) {
    let mut follower = Follower::default();
    let mut away = false;
    while !stopping.is_cancelled() {
        match follower.read(&pool).await {
            Ok(sentences) => {
                away = false;
                for (export_id, event) in sentences {
                    say(export_id, &event);
                }
            }
            Err(error) if !away => {
                away = true;
                tracing::warn!(%error, "cannot read the exports' events; trying on");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stopping.cancelled() => {}
        }
    }
}

fn say(export_id: Uuid, event: &Event) {
    let (stage, attempt, worker) = (event.stage.as_deref(), event.attempt, event.worker.as_deref());
    match event.level.as_str() {
        "info" => tracing::info!(%export_id, stage, attempt, worker, "{}", event.message),
        "warning" => tracing::warn!(%export_id, stage, attempt, worker, "{}", event.message),
        _ => tracing::error!(%export_id, stage, attempt, worker, "{}", event.message),
    }
}

/// Where the log stands: everything up to `settled` was logged, and after it what `seen` holds.
#[derive(Default)]
struct Follower {
    settled: Option<i64>,
    seen: BTreeSet<i64>,
    marks: VecDeque<(Instant, i64)>,
}

impl Follower {
    async fn read(&mut self, pool: &PgPool) -> sqlx::Result<Vec<(Uuid, Event)>> {
        let Some(settled) = self.settled else {
            self.settled = Some(export_events::newest(pool).await?);
            return Ok(Vec::new());
        };
        let mut new = Vec::new();
        let mut from = settled;
        loop {
            let page = export_events::after(pool, from, PAGE).await?;
            let full = i64::try_from(page.len()) == Ok(PAGE);
            from = page.last().map_or(from, |(_, event)| event.id);
            new.extend(page.into_iter().filter(|(_, event)| self.seen.insert(event.id)));
            if !full {
                break;
            }
        }
        self.settle(from);
        Ok(new)
    }

    fn settle(&mut self, newest: i64) {
        self.marks.push_back((Instant::now(), newest));
        while let Some((_, id)) = self.marks.pop_front_if(|(at, _)| at.elapsed() > LATE) {
            self.settled = Some(id);
            self.seen = self.seen.split_off(&(id + 1));
        }
    }
}
