//! The third step: a summary, then each export by itself, and what came of each. Sent twice it makes each once.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Redirect},
};
use bulkhead_shared::{
    db::exports::{self, Check, Submitted},
    domain::{check::GroupListed, export::Level},
};
use serde_json::json;
use uuid::Uuid;

use super::{
    choice::{self, Choice, Planned},
    pick,
};
use crate::{
    ApiState,
    access::Caller,
    canonical,
    pages::{
        fields::Fields,
        frame::Frame,
        page::{Answer, page},
    },
    problem::{Kind, Problem},
    submit::{self, Taken},
};

#[derive(Template)]
#[template(path = "new_summary.html")]
struct Summary<'a> {
    frame: Frame,
    id: Uuid,
    form: Uuid,
    base_url: &'a str,
    choice: &'a Choice,
    rows: Vec<Row>,
}

/// One export to be.
struct Row {
    title: Title,
    since: Option<String>,
    is_first: bool,
}

/// What is exported, for people.
struct Title {
    level: &'static str,
    group: Option<String>,
    name: Option<String>,
}

impl Title {
    fn of(level: Level, group: Option<&str>, listed: &[GroupListed]) -> Self {
        let name = group.and_then(|id| listed.iter().find(|one| one.id == id)).and_then(|one| one.name.clone());
        Self { level: level.as_str(), group: group.map(str::to_owned), name }
    }
}

fn listed(check: &Check) -> &[GroupListed] {
    check.report.as_ref().map(|report| report.groups.as_slice()).unwrap_or_default()
}

/// What will be submitted.
pub fn summary(frame: Frame, id: Uuid, check: &Check, choice: Choice, planned: &[Planned]) -> Answer {
    let rows = planned
        .iter()
        .map(|one| {
            let ask = &one.submission.ask;
            Row { title: Title::of(ask.level, ask.group_id.as_deref(), listed(check)), since: ask.since.clone(), is_first: one.is_first }
        })
        .collect();
    page(&Summary { frame, id, form: Uuid::new_v4(), base_url: &check.fhir_server_url, choice: &choice, rows })
}

#[derive(Template)]
#[template(path = "new_sent.html")]
struct Sent {
    frame: Frame,
    check: Check,
    exports: Vec<Submitted>,
    /// Their exports run already.
    running: Vec<(Title, Uuid)>,
    refused: Vec<(Title, String)>,
}

impl Sent {
    fn title(&self, export: &Submitted) -> Title {
        Title::of(export.level.parse().unwrap_or(Level::Unknown), export.group_id.as_deref(), listed(&self.check))
    }

    fn is_live(&self) -> bool {
        self.exports.iter().any(|export| !matches!(export.state.as_str(), "completed" | "failed" | "cancelled"))
    }
}

/// Submits them, one after the other: each is accepted, runs already, or is refused, by itself.
pub async fn send(State(state): State<Arc<ApiState>>, caller: Caller, frame: Frame, Path(id): Path<String>, fields: Fields) -> Answer {
    let (id, check) = pick::get(&state, &id).await?;
    let form: Uuid = fields.text("form").parse().map_err(|_| Problem::invalid("The form is not whole. Open it again and send it once."))?;
    let planned = Choice::read(&fields).plan(&state, &check).await?;
    let (mut running, mut refused) = (Vec::new(), Vec::new());
    for (n, mut one) in planned.into_iter().enumerate() {
        let key = choice::key(form, n);
        // The summary that bears this number asks for nothing else.
        one.submission.request_hash = canonical::hash(&json!(["page", key, one.submission.ask.group_id]));
        let ask = &one.submission.ask;
        let title = Title::of(ask.level, ask.group_id.as_deref(), listed(&check));
        match submit::submit_unless_running(&state, &caller.actor, &one.submission, &key).await {
            Ok(Taken::In(_)) => {}
            Ok(Taken::Running(id)) => running.push((title, id)),
            Err(problem) if matches!(problem.kind, Kind::Internal | Kind::Unavailable) => return Err(problem),
            Err(problem) => refused.push((title, problem.detail)),
        }
    }
    if running.is_empty() && refused.is_empty() {
        return Ok(Redirect::to(&format!("/new/{id}/sent/{form}")).into_response());
    }
    let exports = made(&state, form).await?;
    page(&Sent { frame, check, exports, running, refused })
}

/// What came of them.
pub async fn sent(State(state): State<Arc<ApiState>>, frame: Frame, Path((id, form)): Path<(String, String)>) -> Answer {
    let (_, check) = pick::get(&state, &id).await?;
    let nothing = || Problem::new(Kind::NotFound, "Nothing was submitted with this form, or it was deleted.");
    let exports = made(&state, form.parse().map_err(|_| nothing())?).await?;
    if exports.is_empty() {
        return Err(nothing());
    }
    page(&Sent { frame, check, exports, running: Vec::new(), refused: Vec::new() })
}

async fn made(state: &ApiState, form: Uuid) -> Result<Vec<Submitted>, Problem> {
    let keys: Vec<String> = (0..choice::MOST).map(|n| choice::key(form, n)).collect();
    Ok(exports::submitted(&state.pool, &keys).await?)
}
