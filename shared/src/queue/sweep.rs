//! The sweeper: in every worker, every two seconds, without a lock of its own. It takes stages from dead workers and
//! issues tickets for what is due and has none.

use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    db::{export_events, workers},
    domain::{failure::Reason, stage::Lane},
};

use super::{
    Claim, Fence, FinishError,
    finish::{REPORT, Trouble, bury, hand_on},
    ticket,
};

/// How many more stages this worker could run, a lane.
#[derive(Debug, Clone, Copy, Default)]
pub struct FreeSlots {
    pub control: i64,
    pub transfer: i64,
    pub load: i64,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    pub workers_lost: Vec<String>,
    pub stages_taken_back: usize,
    pub stages_buried: usize,
}

/// One sweep.
pub async fn sweep(pool: &PgPool, free: FreeSlots, max_attempts: i32) -> sqlx::Result<Swept> {
    let mut swept = Swept { workers_lost: workers::end_lapsed(pool).await?, ..Swept::default() };
    let_waiting_start(pool).await?;
    let gone = holders_gone(pool).await?;
    if !gone.is_empty() {
        swept.stages_taken_back = take_back(pool, &gone).await?;
        swept.stages_buried = bury_exhausted(pool, &gone, max_attempts).await?;
    }
    for (lane, slots) in [(Lane::Control, free.control), (Lane::Transfer, free.transfer), (Lane::Load, free.load)] {
        if slots > 0 {
            issue_tickets(pool, lane, slots).await?;
        }
    }
    Ok(swept)
}

/// Whoever still waits for an export that has ended: two that ended at once may each have left the other's waiter to the other.
async fn let_waiting_start(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.exports w SET waits_for = NULL FROM bulkhead.exports e
          WHERE w.waits_for = e.id AND e.state IN ('completed', 'failed', 'cancelled')"
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Workers that hold stages and are gone. Walks from holder to holder in the index: a hundred thousand held stages cost as much as ten.
async fn holders_gone(pool: &PgPool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"WITH RECURSIVE holders AS (
               (SELECT worker_id FROM bulkhead.stages WHERE state = 'running' ORDER BY worker_id LIMIT 1)
               UNION ALL
               SELECT (SELECT s.worker_id FROM bulkhead.stages s WHERE s.state = 'running' AND s.worker_id > h.worker_id
                        ORDER BY s.worker_id LIMIT 1)
                 FROM holders h WHERE h.worker_id IS NOT NULL)
           SELECT h.worker_id AS "id!" FROM holders h LEFT JOIN bulkhead.workers w ON w.id = h.worker_id
            WHERE h.worker_id IS NOT NULL AND (w.id IS NULL OR w.ended_at IS NOT NULL)"#
    )
    .fetch_all(pool)
    .await
}

/// Stages of workers that are gone become ready; what slept sleeps on. The story is told afterwards, in its own transaction: its foreign
/// key locks the export, and no lock on an export may be waited for while stages are locked.
async fn take_back(pool: &PgPool, gone: &[Uuid]) -> sqlx::Result<usize> {
    let taken = sqlx::query!(
        r#"WITH lost AS (SELECT r.id, r.wake_at IS NOT NULL AS slept, w.name
                          FROM bulkhead.stages r LEFT JOIN bulkhead.workers w ON w.id = r.worker_id
                         WHERE r.state = 'running' AND r.worker_id = ANY($1) AND r.attempt < r.max_attempts
                         LIMIT 20000 FOR UPDATE OF r SKIP LOCKED)
           UPDATE bulkhead.stages s
              SET state = 'ready', worker_id = NULL, claim_id = NULL, ticketed_at = NULL,
                  next_run_at = greatest(s.wake_at, clock_timestamp()), wake_at = NULL,
                  error = CASE WHEN lost.slept THEN s.error ELSE 'its worker was lost' END
             FROM lost WHERE s.id = lost.id
           RETURNING s.export_id, s.kind, s.attempt, lost.name AS "worker?", lost.slept AS "slept!""#,
        gone
    )
    .fetch_all(pool)
    .await?;
    let interrupted: Vec<_> = taken.iter().filter(|stage| !stage.slept).collect();
    let exports: Vec<Uuid> = interrupted.iter().map(|stage| stage.export_id).collect();
    let kinds: Vec<String> = interrupted.iter().map(|stage| stage.kind.clone()).collect();
    let attempts: Vec<i32> = interrupted.iter().map(|stage| stage.attempt).collect();
    let workers: Vec<Option<String>> = interrupted.iter().map(|stage| stage.worker.clone()).collect();
    if let Err(error) = export_events::tell_lost(pool, &exports, &kinds, &attempts, &workers).await {
        tracing::warn!(%error, "sentences of some stories were not kept");
    }
    Ok(taken.len())
}

/// Stages whose last attempt killed or lost its worker.
async fn bury_exhausted(pool: &PgPool, gone: &[Uuid], max_attempts: i32) -> sqlx::Result<usize> {
    let exhausted = sqlx::query!(
        r#"SELECT id, claim_id AS "claim_id!", worker_id AS "worker_id!", export_id, source_id, file_id, part_id, kind,
                  attempt, max_attempts, snoozes
             FROM bulkhead.stages
            WHERE state = 'running' AND worker_id = ANY($1) AND attempt >= max_attempts LIMIT 100"#,
        gone
    )
    .fetch_all(pool)
    .await?;
    let mut buried = 0;
    for row in exhausted {
        let claim = Claim {
            stage_id: row.id,
            claim_id: row.claim_id,
            worker_id: row.worker_id,
            export_id: row.export_id,
            source_id: row.source_id,
            file_id: row.file_id,
            part_id: row.part_id,
            kind: row.kind.parse()?,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            snoozes: row.snoozes,
        };
        match bury_one(pool, Fence { claim, worker_name: "sweeper".to_owned(), max_attempts }).await {
            Ok(()) => buried += 1,
            Err(FinishError::Lost) => {}
            Err(FinishError::Sql(error)) => return Err(error),
        }
    }
    Ok(buried)
}

async fn bury_one(pool: &PgPool, fence: Fence) -> Result<(), FinishError> {
    let mut tx = pool.begin().await?;
    let mut fenced = fence.enter(&mut tx).await?;
    let done = sqlx::query!(
        "UPDATE bulkhead.stages SET state = 'dead', worker_id = NULL, finished_at = clock_timestamp()
          WHERE id = $1 AND claim_id = $2 AND state = 'running'",
        fence.claim.stage_id,
        fence.claim.claim_id
    )
    .execute(fenced.db())
    .await?;
    if done.rows_affected() != 1 {
        return Err(FinishError::Lost);
    }
    let detail = format!("{} lost its worker on attempt {} of {}.", fence.claim.kind, fence.claim.attempt, fence.claim.max_attempts);
    bury(&mut fenced, &Trouble::new(Reason::Internal, detail, REPORT)).await?;
    hand_on(&mut fenced).await?;
    tx.commit().await?;
    Ok(())
}

/// Tickets for due stages that have none, or whose ticket was not answered for a minute: never more than the lane has free slots here.
async fn issue_tickets(pool: &PgPool, lane: Lane, slots: i64) -> sqlx::Result<()> {
    let found = match lane {
        Lane::Control => without_ticket_in_control(pool, slots).await?,
        Lane::Load => without_ticket_in_load(pool, slots).await?,
        Lane::Transfer => without_ticket_in_transfer(pool, slots).await?,
        Lane::Poll => return Ok(()),
    };
    if found.is_empty() {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    // Another sweeper may have been quicker.
    let due = sqlx::query_scalar!(
        "SELECT id FROM bulkhead.stages
          WHERE id = ANY($1) AND state = 'ready' AND (ticketed_at IS NULL OR ticketed_at < statement_timestamp() - interval '60 s')
          FOR UPDATE SKIP LOCKED",
        &found
    )
    .fetch_all(&mut *tx)
    .await?;
    ticket::issue(&mut tx, lane, &due).await?;
    tx.commit().await
}

async fn without_ticket_in_control(pool: &PgPool, slots: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT s.id FROM bulkhead.stages s
          WHERE s.lane = 'control' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND s.attempt < s.max_attempts
            AND (s.ticketed_at IS NULL OR s.ticketed_at < statement_timestamp() - interval '60 s')
            AND (SELECT e.waits_for IS NULL AND (e.state NOT IN ('completed', 'failed', 'cancelled') OR s.kind IN ('release', 'clean_up', 'summarise'))
                   FROM bulkhead.exports e WHERE e.id = s.export_id)
          ORDER BY s.next_run_at LIMIT $1",
        slots
    )
    .fetch_all(pool)
    .await
}

async fn without_ticket_in_load(pool: &PgPool, slots: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT s.id FROM bulkhead.stages s
          WHERE s.lane = 'load' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND s.attempt < s.max_attempts
            AND (s.ticketed_at IS NULL OR s.ticketed_at < statement_timestamp() - interval '60 s')
            AND (SELECT e.waits_for IS NULL AND (e.state NOT IN ('completed', 'failed', 'cancelled') OR s.kind = 'summarise')
                   FROM bulkhead.exports e WHERE e.id = s.export_id)
          ORDER BY s.rank, s.next_run_at LIMIT $1",
        slots
    )
    .fetch_all(pool)
    .await
}

/// Never more a source than it may run; lowest rank first, so exports take turns.
async fn without_ticket_in_transfer(pool: &PgPool, slots: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"WITH RECURSIVE waiting AS (
               (SELECT source_id FROM bulkhead.stages WHERE state = 'ready' AND lane = 'transfer' ORDER BY source_id LIMIT 1)
               UNION ALL
               SELECT (SELECT s.source_id FROM bulkhead.stages s
                        WHERE s.state = 'ready' AND s.lane = 'transfer' AND s.source_id > w.source_id ORDER BY s.source_id LIMIT 1)
                 FROM waiting w WHERE w.source_id IS NOT NULL),
                free AS MATERIALIZED (SELECT source_id, bulkhead.free_transfers(source_id) AS slots FROM waiting WHERE source_id IS NOT NULL)
           SELECT due.id AS "id!"
             FROM free
            CROSS JOIN LATERAL (
                SELECT s.id, s.rank, s.expires_at FROM bulkhead.stages s
                 WHERE s.source_id = free.source_id AND s.lane = 'transfer' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp()
                   AND s.attempt < s.max_attempts AND (s.ticketed_at IS NULL OR s.ticketed_at < statement_timestamp() - interval '60 s')
                   AND (SELECT e.waits_for IS NULL AND e.state NOT IN ('completed', 'failed', 'cancelled')
                   FROM bulkhead.exports e WHERE e.id = s.export_id)
                 ORDER BY s.rank, s.expires_at, s.next_run_at LIMIT least(free.slots, $1)) due
            WHERE free.slots > 0
            ORDER BY due.rank, due.expires_at LIMIT $1"#,
        slots
    )
    .fetch_all(pool)
    .await
}
