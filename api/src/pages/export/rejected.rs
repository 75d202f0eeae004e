//! `/exports/{job_id}/rejected`: the lines that could not be loaded, where they stand and why. Their contents are shown when they are asked
//! for, and who looked is written to the audit log first.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use bulkhead_shared::{
    db::{
        audit_log::{self, Entry},
        rejected_lines::{self, Listed},
        sources,
    },
    domain::audit::{Act, ObjectKind},
};
use serde::Deserialize;
use serde_json::json;

use super::{Head, export};
use crate::{
    ApiState,
    access::Caller,
    pages::{
        frame::Frame,
        page::{Answer, page},
    },
};

const LINES: usize = 50;
/// Of a line: enough to see what is wrong with it. A line may have megabytes; `rejected_lines` has all of it.
const SHOWN: i32 = 4000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    file: Option<i32>,
    after: i64,
    /// `yes`: with the lines themselves.
    contents: String,
}

#[derive(Template)]
#[template(path = "export_rejected.html")]
struct Rejected {
    frame: Frame,
    head: Head,
    file: Option<i32>,
    contents: bool,
    lines: Vec<Listed>,
    after: i64,
    next: Option<i64>,
}

impl Rejected {
    /// The same list from a place on.
    fn url(&self, after: i64, contents: bool) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(file) = self.file {
            query.append_pair("file", &file.to_string());
        }
        if after > 0 {
            query.append_pair("after", &after.to_string());
        }
        if contents {
            query.append_pair("contents", "yes");
        }
        format!("/exports/{}/rejected?{}", self.head.id, query.finish())
    }

    fn first(&self) -> String {
        self.url(0, self.contents)
    }

    fn later(&self) -> Option<String> {
        self.next.map(|next| self.url(next, self.contents))
    }

    /// The same lines, with or without their contents.
    fn other(&self) -> String {
        self.url(self.after, !self.contents)
    }

    #[expect(clippy::unused_self, reason = "the template has the page")]
    fn text(&self, beginning: &[u8]) -> String {
        String::from_utf8_lossy(beginning).into_owned()
    }
}

pub async fn read(
    State(state): State<Arc<ApiState>>,
    frame: Frame,
    caller: Caller,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Answer {
    let export = export(&state, &id).await?;
    let base_url = sources::base_url(&state.pool, export.source_id).await?;
    let contents = asked.contents == "yes";
    let shown = if contents { SHOWN } else { 0 };
    let limit = i64::try_from(LINES).unwrap_or(50) + 1;
    let mut lines = rejected_lines::page(&state.pool, export.id, asked.file, asked.after, shown, limit).await?;
    let more = lines.len() > LINES;
    lines.truncate(LINES);
    if contents && !lines.is_empty() {
        let object = export.id.to_string();
        let detail = json!({ "rejected_lines": lines.len(), "file": asked.file });
        audit_log::insert(&state.pool, &caller.actor, &Entry::of(Act::ResourceSeen, ObjectKind::Export, &object).with(detail)).await?;
    }
    let next = lines.last().filter(|_| more).map(|last| last.id);
    page(&Rejected { head: Head::of(&frame, &export, &base_url), frame, file: asked.file, contents, lines, after: asked.after, next })
}
