//! The same done to many exports, for the HTTP API and the pages: in transactions of a few, each with its lines in the audit log, and not
//! for longer than somebody waits for an answer.

use std::{future::Future, time::Duration};

use bulkhead_shared::{
    db::{
        audit_log,
        exports::{self, Acted, Filter, Operation, Place},
    },
    domain::audit::Act,
};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{ApiState, access::Caller};

/// Exports in one transaction.
const BATCH: usize = 50;
/// No batch begins later: the answer comes before a client gives up.
const LONGEST: Duration = Duration::from_secs(20);
/// A deadlock with a finishing stage ends one of the two; the batch is simply run again.
const TRIES: usize = 4;

/// What is done to whom.
pub trait Many: Sync {
    /// An export, and what became of it.
    type One: Send + Sync;

    fn act(&self) -> Act;

    /// Does it to the next few, at most so many; fewer only if there are no more.
    fn some(
        &self,
        db: &mut PgConnection,
        after: Option<&Self::One>,
        most: usize,
    ) -> impl Future<Output = sqlx::Result<Vec<Self::One>>> + Send;

    /// The export, if it was done.
    fn done(one: &Self::One) -> Option<Uuid>;
}

/// What became of each, and whether there are more: time was over, or the database gave up in the middle.
pub async fn run<M: Many>(state: &ApiState, caller: &Caller, many: &M, most: usize) -> sqlx::Result<(Vec<M::One>, bool)> {
    let began = Instant::now();
    let mut all: Vec<M::One> = Vec::new();
    while all.len() < most {
        let size = BATCH.min(most - all.len());
        let batch = match batch(state, caller, many, all.last(), size).await {
            Ok(batch) => batch,
            // What was done is committed, and must be told.
            Err(error) if !all.is_empty() => {
                tracing::warn!(%error, "not all exports that were meant could be worked on");
                return Ok((all, true));
            }
            Err(error) => return Err(error),
        };
        let full = batch.len() == size;
        all.extend(batch);
        if !full {
            break;
        }
        if began.elapsed() > LONGEST || state.stopping.is_cancelled() {
            return Ok((all, true));
        }
    }
    Ok((all, false))
}

async fn batch<M: Many>(state: &ApiState, caller: &Caller, many: &M, after: Option<&M::One>, size: usize) -> sqlx::Result<Vec<M::One>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt(state, caller, many, after, size).await {
            Err(error) if tries < TRIES && is_race(&error) => {}
            done => return done,
        }
    }
}

/// A batch and its lines in the audit log, together.
async fn attempt<M: Many>(state: &ApiState, caller: &Caller, many: &M, after: Option<&M::One>, size: usize) -> sqlx::Result<Vec<M::One>> {
    let mut tx = state.pool.begin().await?;
    let batch = many.some(&mut tx, after, size).await?;
    let done: Vec<Uuid> = batch.iter().filter_map(M::done).collect();
    audit_log::insert_exports(&mut *tx, &caller.actor, many.act(), &done).await?;
    tx.commit().await?;
    Ok(batch)
}

fn is_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("40P01" | "40001"))
}

/// What the audit log calls an operation.
pub const fn act_of(operation: Operation) -> Act {
    match operation {
        Operation::Retry => Act::ExportRetried,
        Operation::Cancel => Act::ExportCancelled,
        Operation::Accept => Act::ExportAccepted,
        Operation::Delete => Act::ExportDeleted,
    }
}

/// These exports.
pub struct Chosen<'a> {
    pub operation: Operation,
    /// Each once.
    pub ids: &'a [Uuid],
}

impl Many for Chosen<'_> {
    type One = Acted;

    fn act(&self) -> Act {
        act_of(self.operation)
    }

    async fn some(&self, db: &mut PgConnection, after: Option<&Acted>, most: usize) -> sqlx::Result<Vec<Acted>> {
        let begin = after.and_then(|last| self.ids.iter().position(|id| *id == last.id)).map_or(0, |i| i + 1);
        let rest = &self.ids[begin..];
        exports::act_on(db, self.operation, &rest[..rest.len().min(most)]).await
    }

    fn done(one: &Acted) -> Option<Uuid> {
        one.refusal.is_none().then_some(one.id)
    }
}

/// All exports that match, the newest first.
pub struct Matching {
    pub operation: Operation,
    pub filter: Filter,
    /// Those before this one are done.
    pub after: Option<Place>,
}

impl Many for Matching {
    type One = (Place, Acted);

    fn act(&self) -> Act {
        act_of(self.operation)
    }

    async fn some(&self, db: &mut PgConnection, after: Option<&(Place, Acted)>, most: usize) -> sqlx::Result<Vec<(Place, Acted)>> {
        let after = after.map(|(place, _)| *place).or(self.after);
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let places = exports::matching(&mut *db, &self.filter, after, limit).await?;
        let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
        Ok(places.into_iter().zip(exports::act_on(db, self.operation, &ids).await?).collect())
    }

    fn done((_, one): &(Place, Acted)) -> Option<Uuid> {
        Chosen::done(one)
    }
}
