//! `GET /queue`: who works, on what, what waits and why; and a worker asked to drain, or to go on.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use bulkhead_shared::{
    db::{
        audit_log::{self, Entry},
        stages::{self, Dead, Depth, Running, Waiting},
        workers::{self, Overview},
    },
    domain::{
        audit::{Act, ObjectKind},
        stage::StageKind,
    },
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    fields::Fields,
    frame::Frame,
    notice::Notice,
    page::{Answer, page},
};
use crate::{
    ApiState,
    access::Caller,
    problem::{Kind, Problem},
};

const ROWS: i64 = 50;
/// Many more are never run at once by the workers of one database.
const RUNNING: i64 = 500;

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    frame: Frame,
    notice: Notice,
    workers: Vec<Overview>,
    /// In the order an export walks through them.
    depths: Vec<Depth>,
    running: Vec<Running>,
    waiting: Vec<Waiting>,
    dead: Vec<Dead>,
}

/// How a worker is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Alive,
    Draining,
    /// It drains by a person's wish and runs nothing any more.
    Drained,
    /// Nothing is heard of it.
    Lost,
    Ended,
}

impl Standing {
    const fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Lost => "lost",
            Self::Ended => "ended",
        }
    }

    /// The chip's colour.
    const fn colour(self) -> &'static str {
        match self {
            Self::Alive => "good",
            Self::Draining => "running",
            Self::Lost => "lost",
            Self::Drained | Self::Ended => "ended",
        }
    }
}

impl Queue {
    fn standing(&self, worker: &Overview) -> Standing {
        if worker.lost {
            Standing::Lost
        } else if worker.ended_at.is_some() {
            Standing::Ended
        } else if !worker.draining {
            Standing::Alive
        } else if worker.drain_asked && self.of(worker).next().is_none() {
            Standing::Drained
        } else {
            Standing::Draining
        }
    }

    /// The host, of `host:process:run`.
    #[expect(clippy::unused_self, reason = "templates have the page")]
    fn host<'a>(&self, worker: &'a Overview) -> &'a str {
        let mut parts = worker.name.rsplitn(3, ':').skip(2);
        parts.next().unwrap_or(&worker.name)
    }

    #[expect(clippy::unused_self, reason = "templates have the page")]
    fn process<'a>(&self, worker: &'a Overview) -> &'a str {
        worker.name.rsplit(':').nth(1).unwrap_or_default()
    }

    /// What it runs, the longest first.
    fn of(&self, worker: &Overview) -> impl Iterator<Item = &Running> {
        let id = worker.id;
        self.running.iter().filter(move |stage| stage.worker_id == id)
    }

    fn alive(&self) -> usize {
        self.workers.iter().filter(|worker| self.standing(worker) == Standing::Alive).count()
    }

    fn sum(&self, of: fn(&Depth) -> i64) -> i64 {
        self.depths.iter().map(of).sum()
    }

    fn ready(&self) -> i64 {
        self.sum(|depth| depth.ready)
    }

    fn runs(&self) -> i64 {
        self.sum(|depth| depth.running)
    }

    fn sleeps(&self) -> i64 {
        self.sum(|depth| depth.sleeping)
    }

    fn died(&self) -> i64 {
        self.sum(|depth| depth.dead)
    }

    /// How long the oldest of what could run has been waiting.
    fn oldest(&self) -> Option<DateTime<Utc>> {
        self.depths.iter().filter_map(|depth| depth.oldest).min()
    }

    /// Why it waits: a word of `queue.why`.
    fn why(&self, stage: &Waiting) -> &'static str {
        let later = stage.until > self.frame.now;
        match () {
            () if stage.waits_for.is_some() => "same",
            () if stage.kind == StageKind::Poll.as_str() && later => "server",
            () if later && stage.attempt > 0 => "again",
            () if later => "later",
            () if stage.paused_until.is_some() => "paused",
            () if stage.at_limit => "limit",
            () => "worker",
        }
    }

    #[expect(clippy::unused_self, reason = "templates have the page")]
    fn said<'a>(&self, stage: &'a Waiting) -> Option<&'a str> {
        stage.error.as_deref().or(stage.progress.as_deref())
    }
}

pub async fn read(State(state): State<Arc<ApiState>>, frame: Frame, Query(notice): Query<Notice>) -> Answer {
    let pool = &state.pool;
    let (workers, depths, running, waiting, dead) = tokio::try_join!(
        workers::overview(pool),
        stages::depth(pool),
        stages::running(pool, RUNNING),
        stages::waiting(pool, ROWS),
        stages::dead(pool, ROWS)
    )?;
    let mut depths = depths;
    depths.sort_by_key(|depth| StageKind::ALL.iter().position(|kind| kind.as_str() == depth.kind));
    page(&Queue { frame, notice, workers, depths, running, waiting, dead })
}

/// `drain=1`: it claims nothing more, and finishes what it runs. Without: it goes on.
pub async fn drain(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<Uuid>, fields: Fields) -> Answer {
    let drain = fields.has("drain");
    let mut tx = state.pool.begin().await?;
    if !workers::ask_to_drain(&mut *tx, id, drain).await? {
        return Err(Problem::new(Kind::Conflict, "This worker has ended, or ends by itself. Reload the page to see those there are."));
    }
    let act = if drain { Act::WorkerDrained } else { Act::WorkerResumed };
    audit_log::insert(&mut *tx, &caller.actor, &Entry::of(act, ObjectKind::Worker, &id.to_string())).await?;
    tx.commit().await?;
    Ok(Notice::good(if drain { "draining" } else { "resumed" }).to("/queue"))
}
