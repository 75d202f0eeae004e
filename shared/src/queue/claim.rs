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
          WHERE s.id = $1 AND s.lane = $2 AND s.state = 'ready' AND s.next_run_at <= clock_timestamp() AND s.attempt < s.max_attempts
            AND e.waits_for IS NULL
            AND (e.state NOT IN ('completed', 'failed', 'cancelled') OR s.kind IN ('release', 'clean_up'))
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

/// Claims the best due stage of a lane: lowest rank, then longest due.
pub async fn claim_best(db: &PgPool, worker_id: Uuid, lane: Lane) -> sqlx::Result<Option<Claim>> {
    let mut tx = db.begin().await?;
    let candidate = sqlx::query!(
        "WITH busy AS (SELECT r.source_id FROM bulkhead.stages r JOIN bulkhead.sources o ON o.id = r.source_id
                        WHERE $1 = 'transfer' AND r.lane = 'transfer' AND r.state = 'running'
                        GROUP BY r.source_id, o.max_parallel HAVING count(*) >= o.max_parallel)
         SELECT s.id, s.source_id FROM bulkhead.stages s JOIN bulkhead.exports e ON e.id = s.export_id
          WHERE s.lane = $1 AND s.state = 'ready' AND s.next_run_at <= clock_timestamp() AND s.attempt < s.max_attempts
            AND e.waits_for IS NULL
            AND (e.state NOT IN ('completed', 'failed', 'cancelled') OR s.kind IN ('release', 'clean_up'))
            AND s.source_id NOT IN (SELECT source_id FROM busy)
          ORDER BY s.rank, s.next_run_at LIMIT 1
          FOR UPDATE OF s SKIP LOCKED",
        lane.as_str()
    )
    .fetch_optional(&mut *tx)
    .await?;
    let claimed = match candidate {
        Some(found) => take(&mut tx, worker_id, lane, found.id, found.source_id).await?,
        None => None,
    };
    tx.commit().await?;
    Ok(claimed)
}

/// The claim itself, on a row the caller has locked. Only a worker with a live lease may; a source's limit is
/// counted under a lock of its own, so that two claims at once do not both take the last slot.
async fn take(db: &mut PgConnection, worker_id: Uuid, lane: Lane, stage_id: Uuid, source_id: Uuid) -> sqlx::Result<Option<Claim>> {
    if lane == Lane::Transfer {
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 2))", source_id).execute(&mut *db).await?;
    }
    let row = sqlx::query_as!(
        ClaimRow,
        "UPDATE bulkhead.stages s
            SET state = 'running', claim_id = gen_random_uuid(), worker_id = $2, attempt = attempt + 1, runs = runs + 1,
                started_at = clock_timestamp()
          WHERE id = $1 AND state = 'ready' AND EXISTS (SELECT FROM bulkhead.workers WHERE id = $2 AND ended_at IS NULL)
            AND (lane <> 'transfer' OR (SELECT count(*) FROM bulkhead.stages r
                                         WHERE r.source_id = s.source_id AND r.lane = 'transfer' AND r.state = 'running')
                                       < (SELECT max_parallel FROM bulkhead.sources o WHERE o.id = s.source_id))
         RETURNING id, claim_id, export_id, source_id, file_id, part_id, kind, attempt, max_attempts, snoozes",
        stage_id,
        worker_id
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| row.into_claim(worker_id)).transpose()
}
