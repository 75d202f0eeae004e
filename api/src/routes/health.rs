//! `GET /health/live` and `/health/ready`, for supervisors.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State};
use bulkhead_shared::db;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiState,
    openapi::Always,
    problem::{Kind, Problem},
};

const PATIENCE: Duration = Duration::from_secs(3);

/// It is well.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: otherwise the answer is a problem.
    #[schema(example = "ok")]
    status: &'static str,
}

const WELL: Health = Health { status: "ok" };

/// The process runs.
#[utoipa::path(get, path = "/health/live", operation_id = "live", tag = "about", responses((status = 200, description = "It runs.", body = Health), Always))]
pub async fn live() -> Json<Health> {
    Json(WELL)
}

/// The database is there and has our tables.
#[utoipa::path(get, path = "/health/ready", operation_id = "ready", tag = "about",
    responses((status = 200, description = "Requests can be served.", body = Health), Always))]
pub async fn ready(State(state): State<Arc<ApiState>>) -> Result<Json<Health>, Problem> {
    let checked = tokio::time::timeout(PATIENCE, db::check_version(&state.pool)).await;
    match checked {
        Ok(Ok(())) => Ok(Json(WELL)),
        Ok(Err(error)) => Err(Problem::new(Kind::Unavailable, format!("Not ready: {error}."))),
        Err(_) => Err(Problem::new(Kind::Unavailable, "Not ready: Postgres does not answer. Check that it runs.")),
    }
}
