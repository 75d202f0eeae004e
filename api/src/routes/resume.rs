//! `POST /api/bulk-data/resume`: an export that the server has begun already, by its status URL.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use crate::{
    ApiState,
    answer::{self, DEFAULT_WAIT},
    headers,
    problem::Problem,
    request, submit,
};

pub async fn resume(State(state): State<Arc<ApiState>>, http: Request) -> Result<Response, Problem> {
    let head = http.headers().clone();
    let body = super::json_body(http).await?;
    let submission = request::resume(&body, &state.rules)?;
    let id = submit::submit(&state, &submission, headers::idempotency_key(&head)?).await?;
    answer::settled(&state, id, headers::wait(&head).unwrap_or(DEFAULT_WAIT)).await
}
