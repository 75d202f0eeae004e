//! `POST /api/bulk-data/retry`: all failed exports that match a filter, or only a count of them; the database's own function, the same
//! that operators use in psql.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};
use bulkhead_shared::{
    db::exports::{self, FailedFilter, Matched},
    domain::{audit::Act, failure::Reason},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    ApiState,
    access::Caller,
    acts::{self, Many},
    openapi::{Always, BadBody, Changes},
    problem::Problem,
    request,
};

/// Exports that are listed by name.
const SHOWN: usize = 100;
/// What became of the exports that match.
#[derive(Debug, Default, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the words of the answer")]
pub struct Retried {
    /// Nothing was changed: the numbers tell what would be.
    dry_run: bool,
    /// Failed exports that match.
    matched: i64,
    /// How many of them were retried (or would be).
    retried: i64,
    /// How many were not (or would not be); `refused` says why.
    not_retried: i64,
    /// Those that were retried, the last that failed first; the first 100.
    jobs: Vec<RetriedJob>,
    /// Those that were not; the first 100.
    refused: Vec<Refused>,
    /// It took too long for one answer: send the same request again for the rest.
    more: bool,
}

/// One that was retried.
#[derive(Debug, Serialize, ToSchema)]
struct RetriedJob {
    /// The job's id.
    job_id: Uuid,
    /// Its Group.
    #[schema(required, example = "BMCHealthNet")]
    group_id: Option<String>,
    /// The server's FHIR base URL.
    fhir_server_url: String,
    /// Why it had failed.
    #[schema(value_type = Reason)]
    reason: String,
    /// When it had failed.
    failed_at: DateTime<Utc>,
}

/// One that was not.
#[derive(Debug, Serialize, ToSchema)]
struct Refused {
    /// The job's id.
    job_id: Uuid,
    /// Its Group.
    #[schema(required)]
    group_id: Option<String>,
    /// A sentence for people.
    #[schema(example = "export 019b... asks the same and is running.")]
    why: String,
}

/// Retry all failed exports that match, or count them first.
///
/// They are retried the last that failed first, in transactions of at most 50. An export is left out while another that asks the same
/// (the same server, client, Group and parameters) runs; of several that failed, only the last is retried.
///
/// In psql: `SELECT * FROM bulkhead.retry_failed(reason => 'unreachable', dry_run => true)`.
#[utoipa::path(post, path = "/api/bulk-data/retry", operation_id = "retry_many", tag = "operations",
    request_body(content = ref("#/components/schemas/RetryMany"), content_type = "application/json"),
    responses((status = 200, description = "How many, which, and which not.", body = Retried), BadBody, Changes, Always))]
pub async fn many(State(state): State<Arc<ApiState>>, caller: Caller, http: Request) -> Result<Json<Retried>, Problem> {
    let body = super::json_body(http).await?;
    let request::Retry { filter, dry_run } = request::retry(&body)?;
    let answer = if dry_run { count(&state, &filter).await? } else { retry(&state, &caller, &filter).await? };
    Ok(Json(answer))
}

async fn count(state: &ApiState, filter: &FailedFilter) -> Result<Retried, Problem> {
    let shown = i64::try_from(SHOWN).unwrap_or(i64::MAX);
    let (matched, would, first) = exports::would_retry(&state.pool, filter, shown).await?;
    let mut answer = Retried { dry_run: true, ..Retried::default() };
    for one in first {
        answer.show(one);
    }
    Ok(Retried { matched, retried: would, not_retried: matched - would, ..answer })
}

async fn retry(state: &ApiState, caller: &Caller, filter: &FailedFilter) -> Result<Retried, Problem> {
    let (all, more) = acts::run(state, caller, &Failed(filter), usize::MAX).await?;
    let mut answer = Retried { more, ..Retried::default() };
    for one in all {
        answer.matched += 1;
        *(if one.why_not.is_none() { &mut answer.retried } else { &mut answer.not_retried }) += 1;
        answer.show(one);
    }
    Ok(answer)
}

/// The failed exports that match, the last that failed first.
struct Failed<'a>(&'a FailedFilter);

impl Many for Failed<'_> {
    type One = Matched;

    fn act(&self) -> Act {
        Act::ExportRetried
    }

    async fn some(&self, db: &mut PgConnection, after: Option<&Matched>, most: usize) -> sqlx::Result<Vec<Matched>> {
        let below = after.map(|last| (last.failed_at, last.id));
        exports::retry_some(db, self.0, below, i32::try_from(most).unwrap_or(i32::MAX)).await
    }

    fn done(one: &Matched) -> Option<Uuid> {
        one.why_not.is_none().then_some(one.id)
    }
}

impl Retried {
    fn show(&mut self, one: Matched) {
        match one.why_not {
            Some(why) if self.refused.len() < SHOWN => {
                self.refused.push(Refused { job_id: one.id, group_id: one.group_id, why: format!("{why}.") });
            }
            None if self.jobs.len() < SHOWN => self.jobs.push(RetriedJob {
                job_id: one.id,
                group_id: one.group_id,
                fhir_server_url: one.base_url,
                reason: one.reason,
                failed_at: one.failed_at,
            }),
            _ => {}
        }
    }
}
