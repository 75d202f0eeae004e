//! `POST /api/bulk-data/kick-off`: an export is submitted.

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

pub async fn submit(State(state): State<Arc<ApiState>>, http: Request) -> Result<Response, Problem> {
    let head = http.headers().clone();
    let body = super::json_body(http).await?;
    let submission = request::kick_off(&body, &state.rules)?;
    let id = submit::submit(&state, &submission, headers::idempotency_key(&head)?).await?;
    answer::settled(&state, id, headers::wait(&head).unwrap_or(DEFAULT_WAIT)).await
}
