//! Finishing: one fenced transaction that records what came of a stage and hands on.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool};

use crate::{
    db::{export_events::EventLevel, export_files, exports, interval},
    domain::{
        failure::{Failure, Reason},
        finding::Finding,
        stage::StageKind,
    },
};

use super::{
    Claim,
    fence::{Fence, Fenced, FinishError},
};

/// What a stage writes when it is done: rows, and the stages that follow. May be written more than once (each time in a
/// new transaction, the earlier ones rolled back).
#[async_trait]
pub trait Tail: Send + Sync {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written>;
}

/// What a tail found when it held the lock.
#[derive(Debug)]
pub enum Written {
    Done,
    /// Everything was done and the result is a failure: `finish` of an incomplete export.
    Fail(Failure, Vec<Finding>),
}

/// Waiting is not failing: it costs no attempt.
#[derive(Debug, Clone)]
pub struct Snooze {
    pub delay: Duration,
    /// What the server says of its progress; free text, under 100 characters.
    pub progress: Option<String>,
}

/// What a stage's work came to.
pub enum Outcome {
    Done(Box<dyn Tail>),
    /// Done inside a transaction that is open on this connection; the tail is written last in it. Only `load` does.
    DoneIn(Box<PgConnection>, Box<dyn Tail>),
    Snooze(Snooze),
}

/// Why a stage did not get there. The writer of the error says which, where it happens.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Worth another attempt, after the backoff or what the server asked for.
    #[error("{}", .0.detail)]
    Retry(Trouble, Option<Duration>),
    /// No attempt will help.
    #[error("{}", .0.detail)]
    Fail(Trouble),
    /// Not the stage's fault (Postgres away, a deadlock, a full disk): again later, at no cost.
    #[error("{0}")]
    Again(String, Duration),
    /// The stage is no longer ours.
    #[error("the stage is no longer this worker's")]
    Lost,
}

/// What went wrong and what to do about it. No PHI, no secrets, no signed URLs.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub reason: Reason,
    pub detail: String,
    pub remedy: String,
}

impl Trouble {
    pub fn new(reason: Reason, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), remedy: remedy.into() }
    }

    /// A failed file leaves the others of its export alone, unless they will all fail in the same way.
    fn concerns_one_file(&self, kind: StageKind) -> bool {
        kind.is_for_a_file() && !matches!(self.reason, Reason::Credentials | Reason::Expired)
    }
}

impl From<FinishError> for StageError {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Lost => Self::Lost,
            FinishError::Sql(error) => error.into(),
        }
    }
}

impl From<sqlx::Error> for StageError {
    fn from(error: sqlx::Error) -> Self {
        if crate::db::is_away(&error) {
            return Self::Again(format!("Postgres is away: {error}"), Duration::from_secs(1));
        }
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned();
        match code.as_str() {
            "40P01" | "40001" => Self::Again("a deadlock in Postgres".to_owned(), Duration::from_millis(100)),
            "53100" | "53200" => Self::Again(format!("Postgres is out of space or memory ({code})"), Duration::from_secs(30)),
            // The message of a data error may quote the data; its code does not.
            _ if code.starts_with("22") || code.starts_with("23") => {
                Self::Retry(Trouble::new(Reason::Internal, format!("Postgres refused a row (SQLSTATE {code})"), REPORT), None)
            }
            _ => Self::Retry(Trouble::new(Reason::Internal, format!("Postgres: {error}"), REPORT), None),
        }
    }
}

/// What to do about what should not happen.
pub const REPORT: &str = "this is a defect of Bulkhead or of its installation: look at the worker's log, then retry the export";

/// Records a stage's outcome. Repeating it after an error that left the commit's result open is safe.
pub async fn finish(pool: &PgPool, fence: &Fence, result: Result<&dyn Tail, &StageError>, backoff: Duration) -> Result<(), FinishError> {
    if let Err(StageError::Again(message, delay)) = result {
        return again(pool, &fence.claim, message, *delay).await;
    }
    let mut tx = pool.begin().await?;
    match result {
        Ok(tail) => write_done(&mut tx, fence, tail).await?,
        Err(StageError::Retry(trouble, after)) => write_retry(&mut tx, fence, trouble, after.unwrap_or(backoff)).await?,
        Err(StageError::Fail(trouble)) => write_dead(&mut tx, fence, trouble).await?,
        Err(StageError::Lost | StageError::Again(..)) => return Err(FinishError::Lost),
    }
    tx.commit().await?;
    Ok(())
}

/// The same for a stage that hands over its open transaction: the tail goes in last, then it commits.
pub async fn finish_in(connection: &mut PgConnection, fence: &Fence, tail: &dyn Tail) -> Result<(), FinishError> {
    write_done(connection, fence, tail).await?;
    sqlx::query!("COMMIT").execute(connection).await?;
    Ok(())
}

async fn write_done(db: &mut PgConnection, fence: &Fence, tail: &dyn Tail) -> Result<(), FinishError> {
    let mut tx = fence.enter(db).await?;
    if !leave(&mut tx, "done").await? {
        return if is_done(tx.db(), &fence.claim).await? { Ok(()) } else { Err(FinishError::Lost) };
    }
    if let Written::Fail(failure, findings) = tail.write(&mut tx).await? {
        sqlx::query!("UPDATE bulkhead.stages SET state = 'dead', error = $2 WHERE id = $1", fence.claim.stage_id, failure.detail)
            .execute(tx.db())
            .await?;
        tx.tell_of(EventLevel::Error, Some(failure.reason), &format!("{} {}", failure.detail, failure.remedy)).await?;
        fail(&mut tx, &failure, Some(&findings)).await?;
    }
    if fence.claim.kind.follows_the_end() {
        exports::plan_purge(tx.db(), fence.claim.export_id).await?;
    }
    hand_on(&mut tx).await
}

async fn write_retry(db: &mut PgConnection, fence: &Fence, trouble: &Trouble, delay: Duration) -> Result<(), FinishError> {
    // The row's count, not the claim's: a download that has stored a part begins to count anew.
    let attempt = sqlx::query_scalar!("SELECT attempt FROM bulkhead.stages WHERE id = $1", fence.claim.stage_id)
        .fetch_optional(&mut *db)
        .await?
        .ok_or(FinishError::Lost)?;
    if attempt >= fence.claim.max_attempts {
        return write_dead(db, fence, trouble).await;
    }
    let mut tx = fence.enter(db).await?;
    let done = sqlx::query!(
        "UPDATE bulkhead.stages
            SET state = 'ready', worker_id = NULL, ticketed_at = NULL, error = $3, next_run_at = clock_timestamp() + $4
          WHERE id = $1 AND claim_id = $2 AND state = 'running'",
        fence.claim.stage_id,
        fence.claim.claim_id,
        trouble.detail,
        interval(delay)
    )
    .execute(tx.db())
    .await?;
    if done.rows_affected() != 1 {
        return Err(FinishError::Lost);
    }
    let message = format!(
        "{} Attempt {} of {}, again in {:.0} s.",
        trouble.detail,
        fence.claim.attempt,
        fence.claim.max_attempts,
        delay.as_secs_f64()
    );
    tx.tell_of(EventLevel::Warning, Some(trouble.reason), &message).await?;
    Ok(())
}

/// No attempt is left, or none would help.
async fn write_dead(db: &mut PgConnection, fence: &Fence, trouble: &Trouble) -> Result<(), FinishError> {
    let mut tx = fence.enter(db).await?;
    if !leave(&mut tx, "dead").await? {
        return Err(FinishError::Lost);
    }
    bury(&mut tx, trouble).await?;
    hand_on(&mut tx).await
}

/// What the death of a stage, whose row says `dead` already, means for its file or export.
pub(super) async fn bury(tx: &mut Fenced<'_>, trouble: &Trouble) -> Result<(), FinishError> {
    let claim = tx.claim().clone();
    sqlx::query!("UPDATE bulkhead.stages SET error = $2 WHERE id = $1", claim.stage_id, trouble.detail).execute(tx.db()).await?;
    tx.tell_of(EventLevel::Error, Some(trouble.reason), &format!("{} {}", trouble.detail, trouble.remedy)).await?;
    match claim.file_id {
        Some(file) if trouble.concerns_one_file(claim.kind) => export_files::set_failed(tx.db(), file, &trouble.detail).await?,
        _ if claim.kind.follows_the_end() => {}
        _ => {
            let failure =
                Failure { stage: claim.kind, reason: trouble.reason, detail: trouble.detail.clone(), remedy: trouble.remedy.clone() };
            fail(tx, &failure, None).await?;
        }
    }
    Ok(())
}

/// The export fails. What it can no longer run, a sleeping poll included, is out of the claims' way; a retry makes it ready again.
/// What runs goes on; if it comes back to the queue, `bury_leftovers` finds it.
async fn fail(tx: &mut Fenced<'_>, failure: &Failure, findings: Option<&[Finding]>) -> sqlx::Result<()> {
    let id = tx.export_id();
    if exports::fail(tx.db(), id, failure, findings).await? {
        sqlx::query!(
            "UPDATE bulkhead.stages
                SET state = 'dead', worker_id = NULL, claim_id = NULL, wake_at = NULL, finished_at = clock_timestamp(),
                    error = coalesce(error, 'its export failed first')
              WHERE export_id = $1 AND (state = 'ready' OR (state = 'running' AND wake_at IS NOT NULL))
                AND kind NOT IN ('release', 'clean_up', 'summarise')",
            id
        )
        .execute(tx.db())
        .await?;
    }
    Ok(())
}

/// After a data stage: is the export loading now, is it time to finish?
pub(super) async fn hand_on(tx: &mut Fenced<'_>) -> Result<(), FinishError> {
    let kind = tx.claim().kind;
    if kind.is_for_a_file() || matches!(kind, StageKind::Poll | StageKind::Members) {
        tx.settle().await?;
    }
    Ok(())
}

/// The stage's row, if it is still ours, leaves `running`.
async fn leave(tx: &mut Fenced<'_>, state: &str) -> sqlx::Result<bool> {
    let claim = tx.claim().clone();
    let done = sqlx::query!(
        "UPDATE bulkhead.stages
            SET state = $3, worker_id = NULL, finished_at = clock_timestamp(), error = NULL
          WHERE id = $1 AND claim_id = $2 AND state = 'running'",
        claim.stage_id,
        claim.claim_id,
        state
    )
    .execute(tx.db())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// An earlier commit of ours went through although its answer was lost: the row keeps the claim.
async fn is_done(db: &mut PgConnection, claim: &Claim) -> sqlx::Result<bool> {
    let found =
        sqlx::query!("SELECT id FROM bulkhead.stages WHERE id = $1 AND claim_id = $2 AND state = 'done'", claim.stage_id, claim.claim_id)
            .fetch_optional(db)
            .await?;
    Ok(found.is_some())
}

/// Puts waiting stages back into the queue, many in one statement. One that is no longer ours is left alone. (Polls are kept: `sleep`.)
pub async fn snooze_all(pool: &PgPool, snoozes: &[(Claim, Snooze)]) -> sqlx::Result<()> {
    let stages: Vec<_> = snoozes.iter().map(|(claim, _)| claim.stage_id).collect();
    let claims: Vec<_> = snoozes.iter().map(|(claim, _)| claim.claim_id).collect();
    let delays: Vec<f64> = snoozes.iter().map(|(_, snooze)| snooze.delay.as_secs_f64()).collect();
    let progress: Vec<Option<String>> = snoozes.iter().map(|(_, snooze)| snooze.progress.clone()).collect();
    sqlx::query!(
        "UPDATE bulkhead.stages s
            -- A good answer forgets the failures before it.
            SET state = 'ready', worker_id = NULL, ticketed_at = NULL, attempt = 0, snoozes = snoozes + 1, error = NULL,
                progress = coalesce(w.progress, s.progress), next_run_at = clock_timestamp() + make_interval(secs => w.delay)
           FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::text[]) AS w(id, claim_id, delay, progress)
          WHERE s.id = w.id AND s.claim_id = w.claim_id AND s.state = 'running'",
        &stages,
        &claims,
        &delays,
        &progress as &[Option<String>]
    )
    .execute(pool)
    .await?;
    Ok(())
}

async fn again(pool: &PgPool, claim: &Claim, message: &str, delay: Duration) -> Result<(), FinishError> {
    let done = sqlx::query!(
        "UPDATE bulkhead.stages
            SET state = 'ready', worker_id = NULL, ticketed_at = NULL, attempt = attempt - 1, runs = runs - 1, error = $3,
                next_run_at = clock_timestamp() + $4
          WHERE id = $1 AND claim_id = $2 AND state = 'running'",
        claim.stage_id,
        claim.claim_id,
        message,
        interval(delay)
    )
    .execute(pool)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(FinishError::Lost) }
}

/// Gives stages back, due at once and with their attempt: the worker ends in good order. What sleeps sleeps on.
pub async fn hand_back(pool: &PgPool, worker_id: uuid::Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE bulkhead.stages
            SET state = 'ready', worker_id = NULL, claim_id = NULL, ticketed_at = NULL,
                attempt = attempt - CASE WHEN wake_at IS NULL THEN 1 ELSE 0 END,
                next_run_at = greatest(wake_at, clock_timestamp()), wake_at = NULL
          WHERE worker_id = $1 AND state = 'running'",
        worker_id
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// A worker that drains gives back the polls that sleep: another keeps them from now on, and asks no earlier.
pub async fn hand_back_sleeping(pool: &PgPool, worker_id: uuid::Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE bulkhead.stages
            SET state = 'ready', worker_id = NULL, claim_id = NULL, next_run_at = greatest(wake_at, clock_timestamp()), wake_at = NULL
          WHERE worker_id = $1 AND state = 'running' AND wake_at IS NOT NULL",
        worker_id
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Gives back what this worker is said to hold and does not. A claim that was made moments ago may not be known yet.
pub async fn disown(pool: &PgPool, worker_id: uuid::Uuid, held: &[uuid::Uuid]) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE bulkhead.stages s
            SET state = 'ready', worker_id = NULL, claim_id = NULL, ticketed_at = NULL,
                attempt = attempt - CASE WHEN wake_at IS NULL THEN 1 ELSE 0 END,
                next_run_at = greatest(wake_at, clock_timestamp()), wake_at = NULL
          WHERE worker_id = $1 AND state = 'running' AND started_at < clock_timestamp() - interval '5 s'
            AND NOT EXISTS (SELECT FROM unnest($2::uuid[]) AS held(claim_id) WHERE held.claim_id = s.claim_id)",
        worker_id,
        held
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
