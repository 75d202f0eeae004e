//! Table `stages`, as readers see it. What moves it is in `queue`.

mod overview;
mod phases;

use sqlx::PgExecutor;
use uuid::Uuid;

pub use overview::{Dead, Depth, Running, Waiting, dead, depth, running, waiting};
pub use phases::{AtWork, OfFile, Phase, at_work, of_files, phases};

/// How many stages of a kind are in a state.
#[derive(Debug)]
pub struct StageCount {
    pub kind: String,
    pub state: String,
    pub count: i64,
}

/// An export's stages, counted by kind and state. Those of ended exports are purged after a day.
pub async fn summary(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<Vec<StageCount>> {
    sqlx::query_as!(
        StageCount,
        r#"SELECT kind, state, count(*) AS "count!" FROM bulkhead.stages WHERE export_id = $1 GROUP BY kind, state ORDER BY kind, state"#,
        export_id
    )
    .fetch_all(db)
    .await
}

/// What a live stage before the download last said of itself: the server's `X-Progress`, or why it waits.
pub async fn progress(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<Option<String>> {
    let said = sqlx::query_scalar!(
        "SELECT progress FROM bulkhead.stages
          WHERE export_id = $1 AND kind IN ('auth', 'kick_off', 'poll', 'members') AND state IN ('ready', 'running') AND progress IS NOT NULL
          ORDER BY created_at DESC LIMIT 1",
        export_id
    )
    .fetch_optional(db)
    .await?;
    Ok(said.flatten())
}
