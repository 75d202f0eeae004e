//! `/data/{job_id}/resources`: an export's resources in lists, and one by one with references that lead on. What is searched for is sent in
//! a form's body: it is about people, and stands in no address.

use std::sync::Arc;

use askama::{Template, filters::Safe};
use axum::{
    Form,
    extract::{Path, Query, State},
};
use bulkhead_shared::db::{
    resources::{Listed, Page, Wanted},
    summaries,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    format,
    frame::Frame,
    page::{Answer, page},
    references::{self, Piece},
};
use crate::{
    ApiState,
    access::Caller,
    data::browse,
    routes::{job_id, resources::check_text},
};

const ROWS: i64 = 50;

/// What the form asks for; empty fields ask for nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    #[serde(rename = "type")]
    resource_type: String,
    patient: String,
    text: String,
    after: String,
}

#[derive(Template)]
#[template(path = "resources.html")]
struct Resources {
    frame: Frame,
    job: String,
    name: String,
    types: Vec<(String, i64)>,
    asked: Asked,
    found: Page,
}

#[derive(Template)]
#[template(path = "resource.html")]
struct One {
    frame: Frame,
    job: String,
    name: String,
    resource_type: String,
    id: String,
    pieces: Vec<Piece>,
}

/// `GET`: without anything to search for.
pub async fn list(
    State(state): State<Arc<ApiState>>,
    frame: Frame,
    caller: Caller,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Answer {
    let asked = Asked { text: String::new(), patient: String::new(), ..asked };
    show(&state, frame, &caller, &id, asked).await
}

/// `POST`: with one.
pub async fn search(
    State(state): State<Arc<ApiState>>,
    frame: Frame,
    caller: Caller,
    Path(id): Path<String>,
    Form(asked): Form<Asked>,
) -> Answer {
    show(&state, frame, &caller, &id, asked).await
}

async fn show(state: &ApiState, frame: Frame, caller: &Caller, id: &str, mut asked: Asked) -> Answer {
    let export = browse::export(state, job_id(id)?).await?;
    let types = match export.summary_id {
        Some(summary) => summaries::resource_types(&state.pool, summary).await?,
        None => {
            summaries::loaded_so_far(&state.pool, export.export_id).await?.into_iter().filter_map(|(name, n)| Some((name?, n))).collect()
        }
    };
    for field in [&mut asked.resource_type, &mut asked.patient, &mut asked.text] {
        *field = field.trim().to_owned();
    }
    if asked.resource_type.is_empty() {
        asked.resource_type = types
            .iter()
            .map(|(name, _)| name)
            .find(|name| *name == "Patient")
            .or(types.first().map(|(name, _)| name))
            .cloned()
            .unwrap_or_default();
    }
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (patient, text, after) = (given(&asked.patient), given(&asked.text), given(&asked.after));
    if let Some(text) = &text {
        check_text(text)?;
    }
    let wanted =
        Wanted { resource_type: &asked.resource_type, patient: patient.as_deref(), text: text.as_deref(), after: after.as_deref() };
    let found =
        if asked.resource_type.is_empty() { Page::default() } else { browse::list(state, caller, export.export_id, &wanted, ROWS).await? };
    let name = export.group_id.clone().unwrap_or_else(|| frame.word("level", &export.level).to_owned());
    page(&Resources { frame, job: export.export_id.to_string(), name, types, asked, found })
}

/// One resource.
pub async fn one(
    State(state): State<Arc<ApiState>>,
    frame: Frame,
    caller: Caller,
    Path((job, resource_type, id)): Path<(String, String, String)>,
) -> Answer {
    let export = browse::export(&state, job_id(&job)?).await?;
    let text = browse::one(&state, &caller, export.export_id, &resource_type, &id).await?;
    let pieces = references::with_keys(references::pieces(&state.pool, export.export_id, &export.base_url, &text).await?);
    let name = export.group_id.clone().unwrap_or_else(|| frame.word("level", &export.level).to_owned());
    page(&One { frame, job: export.export_id.to_string(), name, resource_type, id, pieces })
}

impl Resources {
    fn address(&self, listed: &Listed) -> String {
        references::address(&self.job, &self.asked.resource_type, &listed.id)
    }

    /// Years may lie behind it: the day says more than how long ago it was.
    #[expect(clippy::unused_self, reason = "a template's function")]
    fn day(&self, at: DateTime<Utc>) -> Safe<String> {
        Safe(format!("<time datetime=\"{0}\" title=\"{0}\">{1}</time>", format::absolute(at), at.format("%Y-%m-%d")))
    }
}
