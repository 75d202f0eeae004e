//! Tickets: apalis jobs that say "there is work". A hint, never a promise.

use apalis::prelude::TaskBuilder;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::stage::Lane;

/// What an apalis job holds. Its form is frozen: workers of other versions read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ticket {
    pub stage_id: Uuid,
}

/// Issues tickets for stages of one lane and notes it in their rows, in the caller's transaction.
pub(super) async fn issue(db: &mut PgConnection, lane: Lane, stages: &[Uuid]) -> sqlx::Result<()> {
    if stages.is_empty() || lane == Lane::Poll {
        return Ok(());
    }
    sqlx::query!("UPDATE bulkhead.stages SET ticketed_at = clock_timestamp(), tickets = tickets + 1 WHERE id = ANY($1)", stages)
        .execute(&mut *db)
        .await?;
    let tasks = stages
        .iter()
        .map(|stage_id| {
            let ticket = serde_json::to_vec(&Ticket { stage_id: *stage_id }).map_err(|e| sqlx::Error::Encode(e.into()))?;
            Ok(TaskBuilder::new(ticket).max_attempts(1).build())
        })
        .collect::<sqlx::Result<Vec<_>>>()?;
    apalis_postgres::queries::push_tasks(db, lane.apalis_queue(), tasks).await.map_err(|error| match error {
        apalis_postgres::Error::Database(error) => error,
        other => sqlx::Error::Encode(other.into()),
    })
}

/// Tickets for stages that were committed without: in a transaction of their own, because their notifications make commits queue up. If
/// this fails nothing is lost but time: the sweeper issues what is missing.
pub async fn announce(pool: &PgPool, lane: Lane, stages: &[Uuid]) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    // One may be claimed already, or ticketed by a sweeper.
    let waiting = sqlx::query_scalar!(
        "SELECT id FROM bulkhead.stages WHERE id = ANY($1) AND state = 'ready' AND ticketed_at IS NULL FOR UPDATE SKIP LOCKED",
        stages
    )
    .fetch_all(&mut *tx)
    .await?;
    issue(&mut tx, lane, &waiting).await?;
    tx.commit().await
}

/// A ticket that was not answered: the stage may have another at once.
pub async fn forget(db: &PgPool, stage_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.stages SET ticketed_at = NULL WHERE id = $1 AND state = 'ready'", stage_id).execute(db).await?;
    Ok(())
}
