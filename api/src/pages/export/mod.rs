//! `/exports/{job_id}`: what happened to one export, and what to do about it.

mod actions;
mod facts;
mod files;
mod findings;
mod manifest;
mod rejected;
mod standing;
mod story;
mod timeline;

use std::sync::Arc;

use askama::{Template, filters::Safe};
use axum::extract::{Path, Query, State};
use bulkhead_shared::{
    db::{
        audit_log, cool_downs, export_events,
        export_files::pages::{self, FileCount},
        exports,
        file_parts::{self, Sums},
        sources,
        stages::{self, AtWork},
        workers,
    },
    domain::{
        export::{Export, ExportState, Level, Purpose},
        failure::Reason,
        source::Source,
        stage::StageKind,
    },
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use super::{
    format,
    frame::Frame,
    notice::Notice,
    page::{Answer, page},
};
use crate::{
    ApiState,
    problem::Problem,
    routes::{job_id, no_such_job},
};
use facts::Facts;
use files::Files;
use findings::Group;
use standing::Standing;
use story::{Entry, Story};
use timeline::{Row, Timeline};

pub use actions::{accept, ask_accept, ask_cancel, ask_delete, cancel, delete, retry};
pub use manifest::read as manifest;
pub use rejected::read as rejected;

/// What is at work, as much of it as a reader takes in.
const AT_WORK: i64 = 8;
/// Breaks of the story that the timeline marks.
const MARKS: i64 = 300;

/// Which page of the files and of the story.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    #[serde(rename = "type")]
    resource_type: String,
    state: String,
    after: String,
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "export.html")]
struct Page {
    frame: Frame,
    notice: Notice,
    /// What the page listens to.
    feed: String,
    head: Head,
    standing: Standing,
    has_rows: bool,
    timeline: Timeline,
    groups: Vec<Group>,
    files: Files,
    story: Story,
    facts: Facts,
}

impl Page {
    /// How long ago; and when, to the second. (Templates pass references of references.)
    fn ago(&self, at: &DateTime<Utc>) -> Safe<String> {
        self.frame.ago(at)
    }

    #[expect(clippy::unused_self, reason = "the template has the page")]
    fn absolute(&self, at: &DateTime<Utc>) -> String {
        format::absolute(*at)
    }

    /// How a phase went, beside its picture.
    fn how(&self, row: &Row) -> String {
        let frame = &self.frame;
        let mut said = Vec::new();
        match row.kind.as_str() {
            "poll" if row.runs > 0 => said.push(frame.count("export.how.asked", row.runs)),
            _ if row.stages == 0 => {}
            "download" => said.push(frame.count("export.n.files", row.stages)),
            "search" => said.push(frame.count("export.n.searches", row.stages)),
            "load" => said.push(frame.count("export.n.parts", row.stages)),
            _ => {}
        }
        if row.kind != "poll" && row.runs > row.stages {
            said.push(frame.count("export.how.attempts", row.runs));
        }
        if row.broken > 0 {
            said.push(frame.count("export.how.broken", row.broken));
        }
        if row.waited > 0 {
            said.push(frame.with("export.how.waited", frame.duration(row.waited)));
        }
        said.join(" · ")
    }
}

/// What all pages of an export have at their top.
struct Head {
    id: String,
    title: String,
    server: String,
    state: ExportState,
    deleting: bool,
    reason: Option<Reason>,
}

impl Head {
    fn of(frame: &Frame, export: &Export, base_url: &str) -> Self {
        let title = match (&export.ask.group_id, export.ask.level) {
            (Some(group), _) => group.clone(),
            (None, level) => frame.word("level", level).to_owned(),
        };
        Self {
            id: export.id.to_string(),
            title,
            server: base_url.to_owned(),
            state: export.state,
            deleting: export.delete_requested_at.is_some(),
            reason: export.failure.as_ref().map(|failure| failure.reason),
        }
    }

    /// What its state allows.
    fn can_retry(&self) -> bool {
        !self.deleting && self.state == ExportState::Failed
    }

    fn can_accept(&self) -> bool {
        self.can_retry() && self.reason == Some(Reason::Incomplete)
    }

    fn can_cancel(&self) -> bool {
        !self.deleting && !matches!(self.state, ExportState::Completed | ExportState::Cancelled)
    }

    fn can_delete(&self) -> bool {
        !self.deleting
    }
}

/// Everything of an export that its page is made of, as of one moment.
struct Seen {
    export: Export,
    source: Source,
    counts: Vec<FileCount>,
    sums: Sums,
    at_work: Vec<AtWork>,
    cool_down: Option<cool_downs::CoolDown>,
    any_worker: bool,
    early: Vec<bulkhead_shared::domain::finding::Finding>,
}

/// An export, not a check.
async fn export(state: &ApiState, id: &str) -> Result<Export, Problem> {
    let id = job_id(id)?;
    exports::get(&state.pool, id).await?.filter(|export| export.purpose == Purpose::Export).ok_or_else(|| no_such_job(id))
}

pub async fn read(
    State(state): State<Arc<ApiState>>,
    frame: Frame,
    Path(id): Path<String>,
    Query(notice): Query<Notice>,
    Query(asked): Query<Asked>,
) -> Answer {
    let source_id = export(&state, &id).await?.source_id;
    let id = job_id(&id)?;
    let source = sources::get(&state.pool, source_id).await?;
    let mut tx = state.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let export = exports::get(&mut *tx, id).await?.ok_or_else(|| no_such_job(id))?;
    let cool_down = cool_downs::current(&mut *tx, source_id, &export.ask.operation()).await?;
    let seen = Seen {
        counts: pages::counts(&mut *tx, id).await?,
        sums: file_parts::sums(&mut *tx, id).await?,
        at_work: if export.state.has_ended() { Vec::new() } else { at_work(&mut tx, id, cool_down.as_ref()).await? },
        cool_down,
        any_worker: workers::any_alive(&mut *tx).await?,
        early: exports::early_findings(&mut *tx, id).await?,
        export,
        source,
    };
    let span = timeline::Span::of(&frame, &seen.export);
    let phases = stages::phases(&mut *tx, id, span.cell()).await?;
    let breaks = export_events::interruptions(&mut *tx, id, MARKS).await?;
    let listed = files::look(&mut tx, id, &asked).await?;
    let told = story::look(&mut tx, id, asked.before).await?;
    let acts = audit_log::done_to_export(&mut *tx, &id.to_string(), 50).await?;
    let neighbours = neighbours(&mut tx, &seen).await?;
    tx.rollback().await?;
    page(&Page {
        feed: format!("/events/{id}"),
        head: Head::of(&frame, &seen.export, &seen.source.base_url),
        standing: Standing::of(&frame, &seen),
        has_rows: seen.sums.rows > 0,
        timeline: Timeline::of(&span, &seen.export, phases, &breaks),
        groups: findings::groups(if seen.export.findings.is_empty() { &seen.early } else { &seen.export.findings }),
        files: Files::of(&frame, &seen, &asked, listed),
        facts: Facts::of(&frame, &seen, &acts, neighbours),
        story: Story::of(&asked, seen.at_work, told, acts),
        notice,
        frame,
    })
}

/// What is at work and comes next. A kick-off looks at a cool-down now and then; it asks the server when that is over.
async fn at_work(db: &mut sqlx::PgConnection, id: Uuid, cool_down: Option<&cool_downs::CoolDown>) -> sqlx::Result<Vec<AtWork>> {
    let mut at_work = stages::at_work(db, id, AT_WORK).await?;
    if let Some(cool_down) = cool_down {
        let kick_offs = at_work.iter_mut().filter(|stage| stage.kind == StageKind::KickOff.as_str());
        kick_offs.filter_map(|stage| stage.waits_until.as_mut()).for_each(|until| *until = cool_down.until);
    }
    Ok(at_work)
}

async fn neighbours(db: &mut sqlx::PgConnection, seen: &Seen) -> sqlx::Result<(Option<exports::Neighbour>, Option<exports::Neighbour>)> {
    match (&seen.export.ask.group_id, seen.export.ask.level) {
        (Some(group), Level::Group) => exports::neighbours(db, seen.export.id, &seen.source.base_url, group, seen.export.created_at).await,
        _ => Ok((None, None)),
    }
}

/// A URL as anybody may see it: neither a query, which may hold a signature, nor a name and a password.
fn shown_url(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let more = if end < text.len() { "?…" } else { "" };
    match Url::parse(&text[..end]) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            let _ = (url.set_username(""), url.set_password(None));
            format!("{url}{more}")
        }
        _ => format!("{}{more}", &text[..end]),
    }
}

/// The address of a page of this export, with other fields of its query.
fn here(id: Uuid, fields: &[(&str, &str)], anchor: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    let question = if query.is_empty() { "" } else { "?" };
    format!("/exports/{id}{question}{query}{anchor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_is_shown_without_query_and_without_credentials() {
        for (url, shown) in [
            ("https://h/f/1?sig=secret#x", "https://h/f/1?…"),
            ("https://u:pw@h/f", "https://h/f"),
            ("https://h/f", "https://h/f"),
            ("not a url?sig=1", "not a url?…"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }
}
