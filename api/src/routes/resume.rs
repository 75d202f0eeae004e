//! `POST /api/bulk-data/resume`: an export that the server has begun already, by its status URL.

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

/// Resume an export that its server has begun already, by its status URL.
///
/// A status URL that is known answers its job; an unknown one makes a new job, whose Group nobody knows.
#[utoipa::path(post, path = "/api/bulk-data/resume", tag = "exports",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters: the same key with the same body is the same job."),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait, at most 60; 10 if it is not given.", example = "wait=30"),
    ),
    request_body(content = ref("#/components/schemas/Resume"), content_type = "application/json"),
    responses((status = 200, description = "The job.", body = Answer), BadSubmission, JobDeleted, KeyReused, Changes, Always))]
pub async fn resume(State(state): State<Arc<ApiState>>, caller: Caller, http: Request) -> Result<Response, Problem> {
    let head = http.headers().clone();
    let body = super::json_body(http).await?;
    let submission = request::resume(&body, &state.rules)?;
    let id = submit::submit(&state, &caller.actor, &submission, headers::idempotency_key(&head)?).await?;
    answer::settled(&state, id, headers::wait(&head).unwrap_or(DEFAULT_WAIT)).await
}
