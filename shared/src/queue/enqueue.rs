//! New stages, in the transaction of the change that calls for them.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::stage::{Lane, StageKind};

use super::ticket;

/// Tickets issued at once for one batch. The rest is claimed by workers that finish a stage, or ticketed by
/// the sweeper: 20,000 files do not need 20,000 wake-ups at once.
const TICKETS_AT_ONCE: usize = 32;

/// A stage to come.
#[derive(Debug, Clone)]
pub struct NewStage {
    pub kind: StageKind,
    pub file_id: Option<i64>,
    pub part_id: Option<i64>,
    /// Position within its export; lowest runs first.
    pub rank: i32,
    /// Seconds from now.
    pub after: f64,
}

impl NewStage {
    /// A stage of the export as a whole, due now.
    #[must_use]
    pub const fn new(kind: StageKind) -> Self {
        Self { kind, file_id: None, part_id: None, rank: 0, after: 0.0 }
    }

    /// The download of a file.
    #[must_use]
    pub const fn download(file_id: i64, n: i32) -> Self {
        Self { kind: StageKind::Download, file_id: Some(file_id), part_id: None, rank: n, after: 0.0 }
    }

    /// The search whose pages become a file.
    #[must_use]
    pub const fn search(file_id: i64, n: i32) -> Self {
        Self { kind: StageKind::Search, file_id: Some(file_id), part_id: None, rank: n, after: 0.0 }
    }

    /// The load of a part.
    #[must_use]
    pub const fn load(file_id: i64, part_id: i64, rank: i32) -> Self {
        Self { kind: StageKind::Load, file_id: Some(file_id), part_id: Some(part_id), rank, after: 0.0 }
    }

    /// Not before so many seconds from now.
    #[must_use]
    pub const fn after(mut self, seconds: f64) -> Self {
        self.after = seconds;
        self
    }
}

/// Inserts stages that are not live already, and tickets for those that are due. All of one kind a call.
pub async fn enqueue(db: &mut PgConnection, export_id: Uuid, source_id: Uuid, max_attempts: i32, stages: &[NewStage]) -> sqlx::Result<()> {
    let Some(first) = stages.first() else { return Ok(()) };
    let due = insert(db, export_id, source_id, max_attempts, stages).await?;
    ticket::issue(db, first.kind.lane(), &due).await
}

/// Inserts stages that are not live already, without tickets: `announce` them when they are committed. Returns those that are due, no more
/// than a batch of tickets. All of one kind a call.
pub async fn insert(
    db: &mut PgConnection,
    export_id: Uuid,
    source_id: Uuid,
    max_attempts: i32,
    stages: &[NewStage],
) -> sqlx::Result<Vec<Uuid>> {
    let Some(first) = stages.first() else { return Ok(Vec::new()) };
    let lane = first.kind.lane();
    let ids: Vec<Uuid> = stages.iter().map(|_| Uuid::now_v7()).collect();
    let files: Vec<Option<i64>> = stages.iter().map(|s| s.file_id).collect();
    let parts: Vec<Option<i64>> = stages.iter().map(|s| s.part_id).collect();
    let ranks: Vec<i32> = stages.iter().map(|s| s.rank).collect();
    let afters: Vec<f64> = stages.iter().map(|s| s.after).collect();
    let due: Vec<Uuid> = sqlx::query!(
        r#"INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts, file_id, part_id, rank, next_run_at, expires_at)
           SELECT n.id, $1, $2, $3, $4, $5, n.file_id, n.part_id, n.rank, clock_timestamp() + make_interval(secs => n.after),
                  CASE WHEN $4 = 'transfer' THEN (SELECT e.expires_at FROM bulkhead.exports e WHERE e.id = $1) END
             FROM unnest($6::uuid[], $7::bigint[], $8::bigint[], $9::int[], $10::float8[]) AS n(id, file_id, part_id, rank, after)
           ON CONFLICT (export_id, kind, coalesce(file_id, 0), coalesce(part_id, 0)) WHERE state IN ('ready', 'running', 'dead')
           DO NOTHING
           RETURNING id, next_run_at <= clock_timestamp() AS "due!""#,
        export_id,
        source_id,
        first.kind.as_str(),
        lane.as_str(),
        max_attempts,
        &ids,
        &files as &[Option<i64>],
        &parts as &[Option<i64>],
        &ranks,
        &afters,
    )
    .fetch_all(&mut *db)
    .await?
    .into_iter()
    .filter(|row| row.due)
    .map(|row| row.id)
    .take(TICKETS_AT_ONCE)
    .collect();
    Ok(due)
}

/// A stage of the export as a whole that no attempt was left of begins anew, if it is there; the sweeper issues its ticket.
pub async fn revive(db: &mut PgConnection, export_id: Uuid, kind: StageKind) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.stages
            SET state = 'ready', attempt = 0, next_run_at = clock_timestamp(), ticketed_at = NULL, finished_at = NULL, error = NULL
          WHERE export_id = $1 AND kind = $2 AND file_id IS NULL AND part_id IS NULL AND state = 'dead'",
        export_id,
        kind.as_str()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The last of an export's files and parts is settled: `finish` is next. Derived from the rows, never counted. The
/// caller holds the export's lock and has taken it in an *earlier statement*: this one's snapshot then
/// sees what the stage before it committed.
pub(super) async fn fan_in(db: &mut PgConnection, export_id: Uuid, max_attempts: i32) -> sqlx::Result<()> {
    let id = sqlx::query_scalar!(
        "INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts)
         SELECT $2, e.id, e.source_id, 'finish', 'control', $3 FROM bulkhead.exports e
          WHERE e.id = $1 AND e.manifest_complete AND e.state IN ('downloading', 'loading')
            AND NOT EXISTS (SELECT FROM bulkhead.export_files f WHERE f.export_id = e.id AND f.state = 'pending')
            AND NOT EXISTS (SELECT FROM bulkhead.stages s
                             WHERE s.export_id = e.id AND s.kind IN ('download', 'search', 'load') AND s.state IN ('ready', 'running'))
         ON CONFLICT (export_id, kind, coalesce(file_id, 0), coalesce(part_id, 0)) WHERE state IN ('ready', 'running', 'dead')
         DO NOTHING
         RETURNING id",
        export_id,
        Uuid::now_v7(),
        max_attempts
    )
    .fetch_optional(&mut *db)
    .await?;
    ticket::issue(db, Lane::Control, id.as_slice()).await
}
