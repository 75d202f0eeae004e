//! Polls that wait. A worker claims one once and keeps it while the server says "later"; between two questions it sleeps in the worker's
//! memory, and its row says until when. Waking and falling asleep touch no indexed column.

use std::collections::HashSet;

use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Claim, Snooze,
    claim::{ClaimRow, into_claims},
};

/// Takes up to `limit` due polls, none of these sources; each gets a claim of its own. They are held, not begun: their attempts do not
/// count yet.
pub async fn adopt(db: &PgPool, worker_id: Uuid, but_not: &[Uuid], limit: i64) -> sqlx::Result<Vec<Claim>> {
    let rows = sqlx::query_as!(
        ClaimRow,
        "WITH due AS (SELECT s.id FROM bulkhead.stages s
                       WHERE s.lane = 'poll' AND s.state = 'ready' AND s.next_run_at <= statement_timestamp() AND s.attempt < s.max_attempts
                         AND s.source_id <> ALL($3)
                         AND (SELECT e.waits_for IS NULL AND e.state NOT IN ('completed', 'failed', 'cancelled')
                                FROM bulkhead.exports e WHERE e.id = s.export_id)
                       ORDER BY s.next_run_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE bulkhead.stages s
            SET state = 'running', claim_id = gen_random_uuid(), worker_id = $1, wake_at = next_run_at, started_at = clock_timestamp()
           FROM due WHERE s.id = due.id AND EXISTS (SELECT FROM bulkhead.workers WHERE id = $1 AND ended_at IS NULL AND NOT draining)
         RETURNING s.id, s.claim_id, s.export_id, s.source_id, s.file_id, s.part_id, s.kind, s.attempt, s.max_attempts, s.snoozes",
        worker_id,
        limit,
        but_not
    )
    .fetch_all(db)
    .await?;
    into_claims(rows, worker_id)
}

/// Counts the attempts of held polls whose time has come, before their servers are asked. Returns the stages that are still ours and whose
/// exports are live; the others are lost. Repeating it after an error that left the commit's result open counts nothing twice.
pub async fn begin(db: &PgPool, claims: &[Claim]) -> sqlx::Result<HashSet<Uuid>> {
    let stages: Vec<Uuid> = claims.iter().map(|claim| claim.stage_id).collect();
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.claim_id).collect();
    let attempts: Vec<i32> = claims.iter().map(|claim| claim.attempt).collect();
    let begun = sqlx::query_scalar!(
        "UPDATE bulkhead.stages s
            SET attempt = w.attempt + 1, runs = runs + CASE WHEN s.wake_at IS NULL THEN 0 ELSE 1 END, wake_at = NULL,
                started_at = clock_timestamp()
           FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS w(id, claim_id, attempt)
          WHERE s.id = w.id AND s.claim_id = w.claim_id AND s.state = 'running'
            AND EXISTS (SELECT FROM bulkhead.workers h WHERE h.id = s.worker_id AND h.ended_at IS NULL)
            AND EXISTS (SELECT FROM bulkhead.exports e
                         WHERE e.id = s.export_id AND e.waits_for IS NULL AND e.state NOT IN ('completed', 'failed', 'cancelled'))
         RETURNING s.id",
        &stages,
        &ids,
        &attempts
    )
    .fetch_all(db)
    .await?;
    Ok(begun.into_iter().collect())
}

/// Puts polls to sleep, many in one statement, and keeps them. Returns the stages that are still ours. Safe to repeat.
pub async fn sleep(db: &PgPool, waiting: &[(Claim, Snooze)]) -> sqlx::Result<HashSet<Uuid>> {
    let stages: Vec<Uuid> = waiting.iter().map(|(claim, _)| claim.stage_id).collect();
    let ids: Vec<Uuid> = waiting.iter().map(|(claim, _)| claim.claim_id).collect();
    let snoozes: Vec<i32> = waiting.iter().map(|(claim, _)| claim.snoozes + 1).collect();
    let delays: Vec<f64> = waiting.iter().map(|(_, snooze)| snooze.delay.as_secs_f64()).collect();
    let progress: Vec<Option<String>> = waiting.iter().map(|(_, snooze)| snooze.progress.clone()).collect();
    let asleep = sqlx::query_scalar!(
        r#"WITH waiting AS (
               SELECT w.id, w.claim_id, w.snoozes, w.delay, coalesce(w.progress, s.progress) AS progress,
                      coalesce(w.progress, s.progress) IS DISTINCT FROM s.progress AS news
                 FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::float8[], $5::text[]) AS w(id, claim_id, snoozes, delay, progress)
                 JOIN bulkhead.stages s ON s.id = w.id),
                asleep AS (
               -- A good answer forgets the failures before it.
               UPDATE bulkhead.stages s
                  SET attempt = 0, snoozes = w.snoozes, error = NULL, progress = w.progress,
                      wake_at = clock_timestamp() + make_interval(secs => w.delay)
                 FROM waiting w
                WHERE s.id = w.id AND s.claim_id = w.claim_id AND s.state = 'running'
               RETURNING s.id, s.export_id, w.news)
           -- Who waits for the export is told, but only of what its server said anew: notifications make commits queue up.
           SELECT id AS "id!" FROM (
               SELECT id, CASE WHEN news THEN pg_notify('bulkhead_exports', export_id::text) END AS told FROM asleep OFFSET 0) told"#,
        &stages,
        &ids,
        &snoozes,
        &delays,
        &progress as &[Option<String>]
    )
    .fetch_all(db)
    .await?;
    Ok(asleep.into_iter().collect())
}
