//! `POST /api/bulk-data/jobs/{id}/retry`, `/cancel`, `/accept`, and `DELETE /api/bulk-data/jobs/{id}`: the database's own
//! functions, the same that operators use in psql.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bulkhead_shared::{
    db::{
        audit_log,
        exports::{self, Operation},
    },
    domain::export::Purpose,
};
use uuid::Uuid;

use super::{being_deleted, job_id, no_such_job};
use crate::{
    ApiState,
    access::Caller,
    acts::act_of,
    answer::Answer,
    openapi::{Always, Changes, NotInThisState, OneJob},
    problem::{Kind, Problem},
};

/// A deadlock with a finishing stage ends one of the two; the operation is simply run again.
const TRIES: usize = 4;

/// Retry a failed export: it goes on where it stopped.
///
/// Where its server has forgotten it, it starts over.
#[utoipa::path(post, path = "/api/bulk-data/jobs/{job_id}/retry", operation_id = "retry", tag = "operations", params(("job_id" = Uuid, Path)),
    responses((status = 200, description = "It goes on.", body = Answer), OneJob, NotInThisState, Changes, Always))]
pub async fn retry(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, Operation::Retry, &id).await
}

/// Cancel an export: its server is told, its files are cleaned up, its rows stay.
#[utoipa::path(post, path = "/api/bulk-data/jobs/{job_id}/cancel", operation_id = "cancel", tag = "operations", params(("job_id" = Uuid, Path)),
    responses((status = 200, description = "It is cancelled.", body = Answer), OneJob, NotInThisState, Changes, Always))]
pub async fn cancel(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, Operation::Cancel, &id).await
}

/// Accept the gaps of an export that failed as `incomplete`: it becomes `completed`, its findings stay.
#[utoipa::path(post, path = "/api/bulk-data/jobs/{job_id}/accept", operation_id = "accept", tag = "operations", params(("job_id" = Uuid, Path)),
    responses((status = 200, description = "Its gaps are accepted.", body = Answer), OneJob, NotInThisState, Changes, Always))]
pub async fn accept(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, Operation::Accept, &id).await
}

/// Delete an export, its rows and its files. One that runs is cancelled first.
#[utoipa::path(delete, path = "/api/bulk-data/jobs/{job_id}", operation_id = "delete", tag = "operations", params(("job_id" = Uuid, Path)),
    responses((status = 202, description = "It is being deleted.", body = Answer), OneJob, Changes, Always))]
pub async fn delete(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, Operation::Delete, &id).await
}

async fn operate(state: &ApiState, caller: &Caller, operation: Operation, id: &str) -> Result<Response, Problem> {
    let id = job_id(id)?;
    if operation != Operation::Delete {
        let export =
            exports::get(&state.pool, id).await?.filter(|export| export.purpose == Purpose::Export).ok_or_else(|| no_such_job(id))?;
        if export.delete_requested_at.is_some() {
            return Err(being_deleted(id));
        }
    }
    run(state, caller, operation, id).await?;
    // Gone already: a worker was quick to delete it.
    let Some(export) = exports::get(&state.pool, id).await? else { return Err(no_such_job(id)) };
    let mut answer = Answer::from(export);
    if operation == Operation::Delete {
        answer.message = Some("Its rows and files are being deleted.".to_owned());
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    }
    Ok(Json(answer).into_response())
}

/// Does it, and writes it down. `false`: it was done already.
pub async fn run(state: &ApiState, caller: &Caller, operation: Operation, id: Uuid) -> Result<bool, Problem> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match attempt(state, caller, operation, id).await {
            Ok(changed) => return Ok(changed),
            Err(error) => error,
        };
        let Some(refusal) = error.as_database_error() else { return Err(error.into()) };
        match refusal.code().as_deref() {
            Some("40P01" | "40001") if tries < TRIES => {}
            Some("P0002") => return Err(no_such_job(id)),
            Some("55000") => {
                let detail = format!("{}. Its state is at /api/bulk-data/status/{id}.", refusal.message());
                return Err(Problem::new(Kind::Conflict, detail));
            }
            _ => return Err(error.into()),
        }
    }
}

/// The operation and its line in the audit log, together. What changes nothing has no line.
async fn attempt(state: &ApiState, caller: &Caller, operation: Operation, id: Uuid) -> sqlx::Result<bool> {
    let mut tx = state.pool.begin().await?;
    let changed = exports::operate(&mut *tx, operation, id).await?;
    if changed {
        audit_log::insert_exports(&mut *tx, &caller.actor, act_of(operation), &[id]).await?;
    }
    tx.commit().await?;
    Ok(changed)
}
