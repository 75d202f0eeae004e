//! The answer to whoever submitted an export or acted on it: which job, where it stands, where to look next.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use bulkhead_shared::{
    db::exports,
    domain::{
        export::{Export, ExportState},
        failure::Reason,
    },
};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    ApiState,
    openapi::JobStatus,
    problem::{Kind, Problem},
};

/// Without `Prefer: wait`; well under the 30 s that the guide's script waits.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// An export takes several steps at once until its server is asked.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// A job, as it stands when the answer is written.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer {
    /// The job's id; also the `etl_job_id` of its rows.
    pub job_id: Uuid,
    #[schema(value_type = JobStatus)]
    pub status: &'static str,
    /// The server's status URL; null until it has answered. `POST /api/bulk-data/resume` takes it.
    #[schema(required, example = "https://bulk-data.smarthealthit.org/fhir/bulkstatus/7b2c")]
    pub status_url: Option<String>,
    pub links: Links,
    /// What went wrong; only when it has failed already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "SMART authentication failed: Invalid JWT (the server said: invalid_client).")]
    pub error: Option<String>,
    /// What to do about it; only with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What else its reader should know: that it waits for another, or that the server has not answered yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where to look, and what can be done (by POST) in its state.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// The job: GET tells its status, DELETE deletes it.
    #[serde(rename = "self")]
    pub this: String,
    /// Its status.
    pub status: String,
    /// While it can be cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// While it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// While it has failed as `incomplete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
}

impl Links {
    /// `reason`: of its failure.
    pub fn of(id: Uuid, state: ExportState, reason: Option<Reason>) -> Self {
        let this = format!("/api/bulk-data/jobs/{id}");
        let act = |offered: bool, word: &str| offered.then(|| format!("{this}/{word}"));
        let failed = state == ExportState::Failed;
        Self {
            status: format!("/api/bulk-data/status/{id}"),
            cancel: act(!state.has_ended() || failed, "cancel"),
            retry: act(failed, "retry"),
            accept: act(failed && reason == Some(Reason::Incomplete), "accept"),
            this,
        }
    }
}

impl From<Export> for Answer {
    fn from(export: Export) -> Self {
        let message = match (export.waits_for, export.state, &export.status_url) {
            (Some(id), ..) => Some(format!("It waits for {id}, which asks the same and is still running; it starts when that one ends.")),
            (None, state, None) if !state.has_ended() => Some(NOT_YET.to_owned()),
            _ => None,
        };
        let links = Links::of(export.id, export.state, export.failure.as_ref().map(|failure| failure.reason));
        let (error, remedy) = export.failure.map(|failure| (failure.detail, failure.remedy)).unzip();
        Self { job_id: export.id, status: export.state.on_the_wire(), status_url: export.status_url, links, error, remedy, message }
    }
}

const NOT_YET: &str = "The server has not answered yet; the export goes on by itself. Ask its status.";

/// Waits until the server has answered, the export has ended or waits for another, or `wait` is over; then tells where it
/// stands. The export is committed: whatever happens here, its id is told.
pub async fn settled(state: &ApiState, id: Uuid, wait: Duration) -> Result<Response, Problem> {
    let deadline = Instant::now() + wait;
    let mut watch = (!wait.is_zero()).then(|| state.changes.watch(id));
    let mut last = None;
    loop {
        let earliest = Instant::now() + SHORTEST_PAUSE;
        if let Some(watch) = &mut watch {
            watch.look();
        }
        match exports::get(&state.pool, id).await {
            Ok(Some(export)) if export.delete_requested_at.is_some() => return Err(being_deleted(id)),
            Ok(Some(export)) => last = Some(export),
            Ok(None) => return Err(being_deleted(id)),
            Err(error) => {
                tracing::warn!(%error, export_id = %id, "cannot follow an export that was taken in");
                break;
            }
        }
        let settled = last.as_ref().is_some_and(|e| e.status_url.is_some() || e.state.has_ended() || e.waits_for.is_some());
        let Some(watch) = watch.as_mut().filter(|_| !settled && Instant::now() < deadline && !state.stopping.is_cancelled()) else {
            break;
        };
        tokio::select! {
            () = state.stopping.cancelled() => {}
            _ = watch.changed(deadline) => sleep_until(earliest.min(deadline)).await,
        }
    }
    let answer = last.map_or_else(|| taken_in(id), Answer::from);
    Ok(Json(answer).into_response())
}

/// It is in the database; more we cannot see now.
fn taken_in(id: Uuid) -> Answer {
    let state = ExportState::Queued;
    Answer {
        job_id: id,
        status: state.on_the_wire(),
        status_url: None,
        links: Links::of(id, state, None),
        error: None,
        remedy: None,
        message: Some(NOT_YET.to_owned()),
    }
}

fn being_deleted(id: Uuid) -> Problem {
    Problem::new(Kind::Conflict, format!("This request made job {id}, which is deleted. Use a new Idempotency-Key to export again."))
}
