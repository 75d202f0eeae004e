//! What an operator does to an export: a form each, answered by its page again. What cannot be taken back is asked first, on a page of its own.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use bulkhead_shared::db::{exports::Operation, file_parts, sources};

use super::{Head, export};
use crate::{
    ApiState,
    access::Caller,
    pages::{
        frame::Frame,
        notice::Notice,
        page::{Answer, page},
    },
    problem::{Kind, Problem},
    routes::{being_deleted, operations},
};

#[derive(Template)]
#[template(path = "export_ask.html")]
struct Ask {
    frame: Frame,
    head: Head,
    /// `cancel`, `accept` or `delete`.
    act: &'static str,
    /// Rows that its export has in the database.
    rows: i64,
    allowed: bool,
}

pub async fn ask_cancel(state: State<Arc<ApiState>>, frame: Frame, id: Path<String>) -> Answer {
    ask(&state, frame, &id, "cancel").await
}

pub async fn ask_accept(state: State<Arc<ApiState>>, frame: Frame, id: Path<String>) -> Answer {
    ask(&state, frame, &id, "accept").await
}

pub async fn ask_delete(state: State<Arc<ApiState>>, frame: Frame, id: Path<String>) -> Answer {
    ask(&state, frame, &id, "delete").await
}

async fn ask(state: &ApiState, frame: Frame, id: &str, act: &'static str) -> Answer {
    let export = export(state, id).await?;
    let base_url = sources::base_url(&state.pool, export.source_id).await?;
    let rows = file_parts::sums(&state.pool, export.id).await?.rows;
    let head = Head::of(&frame, &export, &base_url);
    let allowed = match act {
        "cancel" => head.can_cancel(),
        "accept" => head.can_accept(),
        _ => head.can_delete(),
    };
    page(&Ask { frame, head, act, rows, allowed })
}

pub async fn retry(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, &id, Operation::Retry, "retried").await
}

pub async fn cancel(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, &id, Operation::Cancel, "cancelled").await
}

pub async fn accept(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, &id, Operation::Accept, "accepted").await
}

pub async fn delete(state: State<Arc<ApiState>>, caller: Caller, id: Path<String>) -> Result<Response, Problem> {
    operate(&state, &caller, &id, Operation::Delete, "deleted").await
}

/// Somebody who was quicker made it impossible: that is told on the page, which shows how it stands now.
async fn operate(state: &ApiState, caller: &Caller, id: &str, operation: Operation, word: &str) -> Result<Response, Problem> {
    let export = export(state, id).await?;
    if export.delete_requested_at.is_some() {
        return Err(being_deleted(export.id));
    }
    let here = format!("/exports/{}", export.id);
    match operations::run(state, caller, operation, export.id).await {
        Ok(_) if operation == Operation::Delete => Ok(Notice::good("export-deleted").to("/exports")),
        Ok(true) => Ok(Notice::good(&format!("export-{word}")).to(&here)),
        Ok(false) => Ok(Notice::bad("export-conflict").to(&here)),
        Err(problem) if problem.kind == Kind::Conflict => Ok(Notice::bad("export-conflict").to(&here)),
        Err(problem) => Err(problem),
    }
}
