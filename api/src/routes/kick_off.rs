//! `POST /api/bulk-data/kick-off`: an export is submitted.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use crate::{
    ApiState,
    access::Caller,
    answer::{self, Answer, DEFAULT_WAIT},
    headers,
    openapi::{Always, BadSubmission, Changes, JobDeleted, KeyReused},
    problem::Problem,
    request, submit,
};

/// Submit an export.
///
/// The answer waits for the server's status URL, ten seconds at most; the export goes on in any case. It is 200 also when the export has
/// failed by then: `status` says so. The same source, Group and parameters, submitted while such an export runs, wait for it.
#[utoipa::path(post, path = "/api/bulk-data/kick-off", operation_id = "kick_off", tag = "exports",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters: the same key with the same body is the same job, however often it is sent.", example = "nightly-2026-01-01"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the server's status URL, at most 60; 10 if it is not given.", example = "wait=30"),
    ),
    request_body(content = ref("#/components/schemas/KickOff"), content_type = "application/json", description = "At most 1 MiB. Unknown fields are refused by name."),
    responses((status = 200, description = "The job.", body = Answer), BadSubmission, JobDeleted, KeyReused, Changes, Always))]
pub async fn submit(State(state): State<Arc<ApiState>>, caller: Caller, http: Request) -> Result<Response, Problem> {
    let head = http.headers().clone();
    let body = super::json_body(http).await?;
    let submission = request::kick_off(&body, &state.rules)?;
    let id = submit::submit(&state, &caller.actor, &submission, headers::idempotency_key(&head)?).await?;
    answer::settled(&state, id, headers::wait(&head).unwrap_or(DEFAULT_WAIT)).await
}
