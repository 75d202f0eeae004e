//! `GET /exports`: the exports, newest first.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use bulkhead_shared::db::exports::{self, Filter, Listed};

use super::{
    frame::Frame,
    page::{Answer, page},
};
use crate::ApiState;

const ROWS: i64 = 50;

#[derive(Template)]
#[template(path = "exports.html")]
struct Exports {
    frame: Frame,
    exports: Vec<Listed>,
}

pub async fn list(State(state): State<Arc<ApiState>>, frame: Frame) -> Answer {
    let exports = exports::page(&state.pool, &Filter::default(), None, ROWS).await?;
    page(&Exports { frame, exports })
}
