//! `POST /api/bulk-data/check` and `GET /api/bulk-data/check/{id}`: what an export would need, tried by a worker; none is started.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_shared::{
    db::exports::{self, Check},
    domain::{
        check::{GroupListed, Step, StepResult},
        export::ExportState,
    },
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    ApiState,
    access::Caller,
    headers,
    openapi::{Always, BadSubmission, OneJob},
    problem::{Kind, Problem},
    request, submit,
};

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// What an export would need, tried step by step.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckResult)]
pub struct Answer {
    /// Names the check.
    check_id: Uuid,
    /// `queued`, `running`, `done`, `failed` (it could not be made) or `cancelled`.
    status: &'static str,
    /// Where to ask how it stands.
    status_url: String,
    /// The server's base URL.
    fhir_server_url: String,
    /// The worst of the steps: `ok`, `warning` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<StepResult>,
    /// What was tried, in order.
    steps: Vec<Step>,
    /// Groups that the server lists.
    groups: Vec<GroupListed>,
    /// It lists more of them.
    more_groups: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Why the check could not be made.
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// What to do about it.
    remedy: Option<String>,
    /// When it was asked for.
    created_at: DateTime<Utc>,
    /// When it was over.
    finished_at: Option<DateTime<Utc>>,
}

/// Tries out what an export would need: discovery, a token, its scopes, the CapabilityStatement, the Group; and lists the server's Groups.
/// Starts no export.
#[utoipa::path(post, path = "/api/bulk-data/check", operation_id = "check", tag = "exports",
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the result, at most 60; without it the answer comes at once.", example = "wait=30")),
    request_body(content = ref("#/components/schemas/KickOff"), content_type = "application/json", description = "The body of a kick-off."),
    responses(
        (status = 200, description = "The check is over.", body = Answer),
        (status = 202, description = "The check goes on; `status_url` tells how it stands.", body = Answer),
        BadSubmission, Always
    ))]
pub async fn submit(State(state): State<Arc<ApiState>>, caller: Caller, http: Request) -> Result<Response, Problem> {
    let head = http.headers().clone();
    let body = super::json_body(http).await?;
    let submission = request::kick_off(&body, &state.rules)?;
    let id = submit::check(&state, &caller.actor, &submission).await?;
    let answer = settled(&state, id, headers::wait(&head).unwrap_or_default()).await?;
    let status = if answer.finished_at.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, [(header::LOCATION, path(id))], Json(answer)).into_response())
}

/// How a check stands.
#[utoipa::path(get, path = "/api/bulk-data/check/{check_id}", operation_id = "check_status", tag = "exports",
    params(
        ("check_id" = Uuid, Path, description = "The `check_id` that was answered."),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the result, at most 60.", example = "wait=30"),
    ),
    responses((status = 200, description = "The check.", body = Answer), OneJob, Always))]
pub async fn read(State(state): State<Arc<ApiState>>, Path(id): Path<String>, head: HeaderMap) -> Result<Response, Problem> {
    let id = id.parse().map_err(|_| Problem::invalid("The check's id is not a UUID; use the check_id that was answered."))?;
    Ok(Json(settled(&state, id, headers::wait(&head).unwrap_or_default()).await?).into_response())
}

fn path(id: Uuid) -> String {
    format!("/api/bulk-data/check/{id}")
}

/// How it stands when it is over, or when `wait` is.
async fn settled(state: &ApiState, id: Uuid, wait: Duration) -> Result<Answer, Problem> {
    let deadline = Instant::now() + wait;
    let mut watch = (!wait.is_zero()).then(|| state.changes.watch(id));
    loop {
        let earliest = Instant::now() + SHORTEST_PAUSE;
        if let Some(watch) = &mut watch {
            watch.look();
        }
        let check = exports::get_check(&state.pool, id).await?.ok_or_else(|| {
            Problem::new(Kind::NotFound, format!("There is no check {id}; it may be older than a week. Submit it again."))
        })?;
        let over = check.finished_at.is_some() || Instant::now() >= deadline || state.stopping.is_cancelled();
        let Some(watch) = watch.as_mut().filter(|_| !over) else { return Ok(answer(id, check)) };
        tokio::select! {
            () = state.stopping.cancelled() => {}
            _ = watch.changed(deadline) => sleep_until(earliest.min(deadline)).await,
        }
    }
}

fn answer(id: Uuid, check: Check) -> Answer {
    let result = check.report.as_ref().map(bulkhead_shared::domain::check::Report::result);
    let report = check.report.unwrap_or_default();
    Answer {
        check_id: id,
        status: match check.state {
            ExportState::Queued => "queued",
            ExportState::Completed => "done",
            ExportState::Failed => "failed",
            ExportState::Cancelled => "cancelled",
            _ => "running",
        },
        status_url: path(id),
        fhir_server_url: check.fhir_server_url,
        result,
        steps: report.steps,
        groups: report.groups,
        more_groups: report.more_groups,
        error: check.error,
        remedy: check.remedy,
        created_at: check.created_at,
        finished_at: check.finished_at,
    }
}
