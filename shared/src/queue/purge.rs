//! What is over is removed: answered tickets, workers of old, finished stages of ended exports, old checks.

use sqlx::PgPool;

/// About so many of a kind go at once.
const ROWS: u64 = 10_000;

/// Schedules the clean-up of exports that failed so many seconds ago and were not retried since: their own stages are dead.
pub async fn clean_up_failed(pool: &PgPool, retention: f64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
         SELECT gen_random_uuid(), e.id, e.source_id, 'clean_up', 'control', 20 FROM bulkhead.exports e
          WHERE e.state = 'failed' AND e.cleaned_at IS NULL AND e.finished_at < clock_timestamp() - make_interval(secs => $1)
         ON CONFLICT (export_id, kind, coalesce(file_id, 0), coalesce(part_id, 0)) WHERE state IN ('ready', 'running', 'dead') DO NOTHING",
        retention
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// What ran while its export failed and came back to the queue since: it would stand before what can run. One statement under the exports'
/// locks, so that a retry is either before it, and the export not failed, or after it, and makes these stages ready again.
pub async fn bury_leftovers(pool: &PgPool) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH failed AS (
             SELECT e.id FROM bulkhead.exports e
              WHERE e.state = 'failed' AND e.cleaned_at IS NULL AND e.finished_at > statement_timestamp() - interval '1 day'
                AND EXISTS (SELECT FROM bulkhead.stages s
                             WHERE s.export_id = e.id AND s.state = 'ready' AND s.kind NOT IN ('release', 'clean_up', 'summarise'))
              LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE bulkhead.stages s SET state = 'dead', finished_at = clock_timestamp(), error = coalesce(s.error, 'its export failed first')
           FROM failed WHERE s.export_id = failed.id AND s.state = 'ready' AND s.kind NOT IN ('release', 'clean_up', 'summarise')"
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// One purge; bounded, so that no transaction is long. Returns how many rows went.
pub async fn purge(pool: &PgPool) -> sqlx::Result<u64> {
    let tickets = sqlx::query!(
        "DELETE FROM apalis.jobs WHERE id IN (
            SELECT id FROM apalis.jobs
             WHERE status IN ('Done', 'Failed', 'Killed') AND done_at < now() - interval '10 minutes' LIMIT 10000)"
    )
    .execute(pool)
    .await?;
    let apalis_workers = sqlx::query!(
        "DELETE FROM apalis.workers w
          WHERE w.last_seen < now() - interval '1 hour' AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.lock_by = w.id)"
    )
    .execute(pool)
    .await?;
    let workers = sqlx::query!("DELETE FROM bulkhead.workers WHERE ended_at < clock_timestamp() - interval '7 days'").execute(pool).await?;
    let checks = sqlx::query!(
        "DELETE FROM bulkhead.exports WHERE id IN (
            SELECT id FROM bulkhead.exports
             WHERE purpose = 'check' AND created_at < clock_timestamp() - interval '7 days' AND finished_at IS NOT NULL
             ORDER BY created_at LIMIT 1000)"
    )
    .execute(pool)
    .await?;
    let mut stages = 0;
    while stages < ROWS {
        match purge_stages(pool).await? {
            None => break,
            Some(rows) => stages += rows,
        }
    }
    Ok(tickets.rows_affected() + apalis_workers.rows_affected() + workers.rows_affected() + checks.rows_affected() + stages)
}

/// The finished stages of one ended export whose time has come; when they were at work is kept. By export, so that what stays is not looked at again. `None`: there is no
/// such export.
async fn purge_stages(pool: &PgPool) -> sqlx::Result<Option<u64>> {
    let mut tx = pool.begin().await?;
    let exports = sqlx::query_scalar!(
        "UPDATE bulkhead.exports SET purge_at = NULL
          WHERE id IN (SELECT id FROM bulkhead.exports WHERE purge_at <= statement_timestamp() ORDER BY purge_at LIMIT 1
                          FOR NO KEY UPDATE SKIP LOCKED)
         RETURNING id"
    )
    .fetch_all(&mut *tx)
    .await?;
    if exports.is_empty() {
        return Ok(None);
    }
    sqlx::query!("SELECT bulkhead.keep_phases(ended) FROM unnest($1::uuid[]) ended", &exports).fetch_all(&mut *tx).await?;
    let gone = sqlx::query!("DELETE FROM bulkhead.stages WHERE export_id = ANY($1) AND state IN ('done', 'cancelled')", &exports)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(gone.rows_affected() + exports.len() as u64))
}
