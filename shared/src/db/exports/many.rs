//! The same done to many exports: the database's own function, the same that operators use in psql.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, QueryBuilder};
use uuid::Uuid;

use super::{
    Operation,
    filter::{Filter, Place},
};
use crate::domain::{
    export::{ExportState, Level},
    words,
};

words! {
    /// Why an export was left as it was.
    pub enum Refusal {
        /// There is none (any more), or it is being deleted.
        Gone = "gone",
        /// Its state does not allow it.
        State = "state",
        /// Another that asks the same runs.
        SameRuns = "same_runs",
        /// Somebody else is changing it at this moment.
        Busy = "busy",
    }
}

/// An export, and what became of it.
#[derive(Debug)]
pub struct Acted {
    pub id: Uuid,
    pub base_url: Option<String>,
    pub level: Option<Level>,
    pub group_id: Option<String>,
    /// Where it stood before.
    pub state: Option<ExportState>,
    /// `None`: it is done.
    pub refusal: Option<Refusal>,
    /// The one that asks the same and runs.
    pub other: Option<Uuid>,
}

/// Does it to each, in the order given.
pub async fn act_on(db: impl PgExecutor<'_>, operation: Operation, ids: &[Uuid]) -> sqlx::Result<Vec<Acted>> {
    let rows = sqlx::query!(
        r#"SELECT etl_job_id AS "id!", server, level, "group", state, refusal, other FROM bulkhead.act_on($1, $2)"#,
        operation.as_str(),
        ids
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Acted {
                id: row.id,
                base_url: row.server,
                level: row.level.map(|word| word.parse()).transpose()?,
                group_id: row.group,
                state: row.state.map(|word| word.parse()).transpose()?,
                refusal: row.refusal.map(|word| word.parse()).transpose()?,
                other: row.other,
            })
        })
        .collect()
}

/// The next few that match, with their places: those below `after`, the newest first.
pub async fn matching(db: impl PgExecutor<'_>, filter: &Filter, after: Option<Place>, limit: i64) -> sqlx::Result<Vec<Place>> {
    let mut query = QueryBuilder::new("SELECT e.created_at, e.id FROM bulkhead.exports e");
    filter.push(&mut query);
    if let Some(Place { at, id }) = after {
        query.push(" AND (e.created_at, e.id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY e.created_at DESC, e.id DESC LIMIT ").push_bind(limit);
    let places: Vec<(DateTime<Utc>, Uuid)> = query.build_query_as().fetch_all(db).await?;
    Ok(places.into_iter().map(|(at, id)| Place { at, id }).collect())
}
