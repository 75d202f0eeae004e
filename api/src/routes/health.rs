//! `GET /health/live` and `/health/ready`, for supervisors.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use bulkhead_shared::db;
use serde_json::{Value, json};

use crate::{
    ApiState,
    problem::{Kind, Problem},
};

const PATIENCE: Duration = Duration::from_secs(3);

/// The process runs.
pub async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The database is there and has our tables.
pub async fn ready(State(state): State<Arc<ApiState>>) -> Result<Json<Value>, Problem> {
    let checked = tokio::time::timeout(PATIENCE, db::check_version(&state.pool)).await;
    match checked {
        Ok(Ok(())) => Ok(Json(json!({"status": "ok"}))),
        Ok(Err(error)) => Err(Problem::new(Kind::Unavailable, format!("Not ready: {error}."))),
        Err(_) => Err(Problem::new(Kind::Unavailable, "Not ready: Postgres does not answer. Check that it runs.")),
    }
}
