//! Claiming: a short transaction of its own that turns a ready, due stage into a running one of ours.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::stage::{Lane, StageKind};

/// A stage that is ours while `claim_id` stands in its row.
#[derive(Debug, Clone)]
pub struct Claim {
    pub stage_id: Uuid,
    pub claim_id: Uuid,
    pub worker_id: Uuid,
    pub export_id: Uuid,
    pub source_id: Uuid,
    pub file_id: Option<i64>,
    pub part_id: Option<i64>,
    pub kind: StageKind,
    pub attempt: i32,
    pub max_attempts: i32,
    pub snoozes: i32,
}

pub(super) struct ClaimRow {
    pub(super) id: Uuid,
    pub(super) claim_id: Option<Uuid>,
    pub(super) export_id: Uuid,
    pub(super) source_id: Uuid,
    pub(super) file_id: Option<i64>,
    pub(super) part_id: Option<i64>,
    pub(super) kind: String,
    pub(super) attempt: i32,
    pub(super) max_attempts: i32,
    pub(super) snoozes: i32,
}

pub(super) fn into_claims(rows: Vec<ClaimRow>, worker_id: Uuid) -> sqlx::Result<Vec<Claim>> {
    rows.into_iter().map(|row| row.into_claim(worker_id)).collect()
}

impl ClaimRow {
    fn into_claim(self, worker_id: Uuid) -> sqlx::Result<Claim> {
        Ok(Claim {
            stage_id: self.id,
            claim_id: self.claim_id.unwrap_or_default(),
            worker_id,
            export_id: self.export_id,
            source_id: self.source_id,
            file_id: self.file_id,
            part_id: self.part_id,
            kind: self.kind.parse()?,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            snoozes: self.snoozes,
        })
    }
}

/// Claims the stage a ticket names, or, if it is gone, the best due stage of the lane.
pub async fn claim_ticket(db: &PgPool, worker_id: Uuid, lane: Lane, stage_id: Uuid) -> sqlx::Result<Option<Claim>> {
    let mut tx = db.begin().await?;
    let candidate = sqlx::query!(
        "SELECT s.id, s.source_id FROM bulkhead.stages s JOIN bulkhead.exports e ON e.id = s.export_id
          WHERE s.id = $1 AND s.lane = $2 AND s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND s.attempt < s.max_attempts
            AND e.waits_for IS NULL
            AND (e.state NOT IN ('completed', 'failed', 'cancelled') OR s.kind IN ('release', 'clean_up', 'summarise'))
          FOR UPDATE OF s SKIP LOCKED",
        stage_id,
        lane.as_str()
    )
    .fetch_optional(&mut *tx)
    .await?;
    let claimed = match candidate {
        Some(found) => take(&mut tx, worker_id, lane, found.id, found.source_id).await?,
        None => None,
    };
    tx.commit().await?;
    match claimed {
        Some(claim) => Ok(Some(claim)),
        None => claim_best(db, worker_id, lane).await,
    }
}

/// Claims the best due stage of a lane. That its export is live is asked of each candidate, in the order of the index: as a join it would
/// invite the planner to sort the whole backlog first.
pub async fn claim_best(db: &PgPool, worker_id: Uuid, lane: Lane) -> sqlx::Result<Option<Claim>> {
    match lane {
        Lane::Control => claim_control(db, worker_id).await,
        Lane::Load => claim_load(db, worker_id).await,
        Lane::Transfer => claim_transfer(db, worker_id).await,
        // `adopt` takes them.
        Lane::Poll => Ok(None),
    }
}

/// What is due longest. (Most of the lane is the clean-up of next week.)
async fn claim_control(db: &PgPool, worker_id: Uuid) -> sqlx::Result<Option<Claim>> {
    let mut tx = db.begin().await?;
    let candidate = sqlx::query!(
        "SELECT s.id, s.source_id FROM bulkhead.stages s
          WHERE s.lane = 'control' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND s.attempt < s.max_attempts
            AND (SELECT e.waits_for IS NULL AND (e.state NOT IN ('completed', 'failed', 'cancelled') OR s.kind IN ('release', 'clean_up', 'summarise'))
                   FROM bulkhead.exports e WHERE e.id = s.export_id)
          ORDER BY s.next_run_at LIMIT 1
          FOR UPDATE OF s SKIP LOCKED"
    )
    .fetch_optional(&mut *tx)
    .await?;
    let claimed = match candidate {
        Some(found) => take(&mut tx, worker_id, Lane::Control, found.id, found.source_id).await?,
        None => None,
    };
    tx.commit().await?;
    Ok(claimed)
}

/// Lowest rank first: exports take turns.
async fn claim_load(db: &PgPool, worker_id: Uuid) -> sqlx::Result<Option<Claim>> {
    let mut tx = db.begin().await?;
    let candidate = sqlx::query!(
        "SELECT s.id, s.source_id FROM bulkhead.stages s
          WHERE s.lane = 'load' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND s.attempt < s.max_attempts
            AND (SELECT e.waits_for IS NULL AND (e.state NOT IN ('completed', 'failed', 'cancelled') OR s.kind = 'summarise')
                   FROM bulkhead.exports e WHERE e.id = s.export_id)
          ORDER BY s.rank, s.next_run_at LIMIT 1
          FOR UPDATE OF s SKIP LOCKED"
    )
    .fetch_optional(&mut *tx)
    .await?;
    let claimed = match candidate {
        Some(found) => take(&mut tx, worker_id, Lane::Load, found.id, found.source_id).await?,
        None => None,
    };
    tx.commit().await?;
    Ok(claimed)
}

/// Lowest rank first, so that exports take turns; then what expires first. Sources that run as much as they may are stepped over as a
/// whole, however much of theirs waits. When another worker was quicker at one source, the next one's turn comes.
async fn claim_transfer(db: &PgPool, worker_id: Uuid) -> sqlx::Result<Option<Claim>> {
    for source_id in sources_to_download(db).await? {
        let mut tx = db.begin().await?;
        let candidate = sqlx::query_scalar!(
            "SELECT s.id FROM bulkhead.stages s
              WHERE s.source_id = $1 AND s.lane = 'transfer' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp()
                AND s.attempt < s.max_attempts AND (SELECT e.waits_for IS NULL AND e.state NOT IN ('completed', 'failed', 'cancelled')
                   FROM bulkhead.exports e WHERE e.id = s.export_id)
              ORDER BY s.rank, s.expires_at, s.next_run_at LIMIT 1
              FOR UPDATE OF s SKIP LOCKED",
            source_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let claimed = match candidate {
            Some(stage_id) => take(&mut tx, worker_id, Lane::Transfer, stage_id, source_id).await?,
            None => None,
        };
        tx.commit().await?;
        if claimed.is_some() {
            return Ok(claimed);
        }
    }
    Ok(None)
}

/// Sources with a due download and a slot for it, the best first. Walks from source to source in the index.
async fn sources_to_download(db: &PgPool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"WITH RECURSIVE waiting AS (
               (SELECT source_id FROM bulkhead.stages WHERE state = 'ready' AND lane = 'transfer' ORDER BY source_id LIMIT 1)
               UNION ALL
               SELECT (SELECT s.source_id FROM bulkhead.stages s
                        WHERE s.state = 'ready' AND s.lane = 'transfer' AND s.source_id > w.source_id ORDER BY s.source_id LIMIT 1)
                 FROM waiting w WHERE w.source_id IS NOT NULL),
                free AS MATERIALIZED (SELECT source_id FROM waiting WHERE source_id IS NOT NULL AND bulkhead.free_transfers(source_id) > 0)
           SELECT free.source_id AS "source_id!"
             FROM free
            CROSS JOIN LATERAL (
                SELECT s.rank, s.expires_at, s.next_run_at FROM bulkhead.stages s
                 WHERE s.source_id = free.source_id AND s.lane = 'transfer' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp()
                   AND s.attempt < s.max_attempts AND (SELECT e.waits_for IS NULL AND e.state NOT IN ('completed', 'failed', 'cancelled')
                   FROM bulkhead.exports e WHERE e.id = s.export_id)
                 ORDER BY s.rank, s.expires_at, s.next_run_at LIMIT 1) best
            ORDER BY best.rank, best.expires_at, best.next_run_at LIMIT 8"#
    )
    .fetch_all(db)
    .await
}

/// The claim itself, on a row the caller has locked. Only a worker with a live lease may; a source's limit is
/// counted under a lock of its own, so that two claims at once do not both take the last slot.
async fn take(db: &mut PgConnection, worker_id: Uuid, lane: Lane, stage_id: Uuid, source_id: Uuid) -> sqlx::Result<Option<Claim>> {
    if lane == Lane::Transfer {
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 2))", source_id).execute(&mut *db).await?;
    }
    let row = sqlx::query_as!(
        ClaimRow,
        "UPDATE bulkhead.stages
            SET state = 'running', claim_id = gen_random_uuid(), worker_id = $2, attempt = attempt + 1, runs = runs + 1,
                started_at = clock_timestamp()
          WHERE id = $1 AND state = 'ready' AND EXISTS (SELECT FROM bulkhead.workers WHERE id = $2 AND ended_at IS NULL AND NOT draining)
            AND (lane <> 'transfer' OR bulkhead.free_transfers(source_id) > 0)
         RETURNING id, claim_id, export_id, source_id, file_id, part_id, kind, attempt, max_attempts, snoozes",
        stage_id,
        worker_id
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| row.into_claim(worker_id)).transpose()
}
