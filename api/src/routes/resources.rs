//! `/api/bulk-data/jobs/{job_id}/resources/{resource_type}`: an export's resources, page by page, and one by one.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bulkhead_shared::db::resources::{Listed, Wanted};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{job_id, json_body};
use crate::{
    ApiState,
    access::Caller,
    data::browse,
    openapi::{Always, BadBody, BadQuery, Changes, OneJob},
    problem::Problem,
};

const LIMIT: i64 = 50;
const LARGEST_LIMIT: i64 = 500;
/// A shorter text is nearly everywhere, a longer one is a mistake.
const TEXT: std::ops::RangeInclusive<usize> = 2..=200;

/// A page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    /// Resources a page; 50 if it is not given, at most 500.
    pub limit: Option<i64>,
}

/// What is searched for. It is about people: it stands in a body, not in an address that is kept in logs and histories.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceSearch {
    /// Characters that stand anywhere in the resource, in whatever case; 2 to 200 of them.
    #[schema(example = "penicillin")]
    pub text: Option<String>,
    /// Only those about the patient with this id.
    pub patient: Option<String>,
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    /// Resources a page; 50 if it is not given, at most 500.
    pub limit: Option<i64>,
}

/// A resource in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedResource {
    /// Its id.
    id: String,
    /// The patient it is about.
    #[schema(required)]
    patient_id: Option<String>,
    /// `meta.lastUpdated`.
    #[schema(required)]
    last_updated: Option<DateTime<Utc>>,
    /// What it is about, in a few words of its own.
    #[schema(required)]
    about: Option<String>,
}

/// A page of resources.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResourcePage {
    /// By id.
    resources: Vec<ListedResource>,
    /// What to give as `after` for the next page; null on the last one. A page may hold few and go on: it takes no longer than a moment.
    #[schema(required)]
    next: Option<String>,
}

/// The resources of one type, by id. Who looked is written to the audit log.
#[utoipa::path(get, path = "/api/bulk-data/jobs/{job_id}/resources/{resource_type}", operation_id = "list_resources", tag = "data",
    params(("job_id" = Uuid, Path), ("resource_type" = String, Path, example = "Condition"), ListQuery),
    responses((status = 200, description = "A page.", body = ResourcePage), OneJob, BadQuery, Always))]
pub async fn list(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path((id, resource_type)): Path<(String, String)>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ResourcePage>, Problem> {
    let Query(query) = query.map_err(|_| {
        Problem::invalid(
            "Known query parameters are after and limit, which is a number; what is searched for, text or patient, is sent by POST.",
        )
    })?;
    let wanted = Wanted { resource_type: &resource_type, patient: None, text: None, after: query.after.as_deref() };
    page(&state, &caller, job_id(&id)?, &wanted, query.limit).await
}

/// The resources of one type that hold a text, or are about one patient. Who looked is written to the audit log, what was searched for is not.
#[utoipa::path(post, path = "/api/bulk-data/jobs/{job_id}/resources/{resource_type}", operation_id = "search_resources", tag = "data",
    params(("job_id" = Uuid, Path), ("resource_type" = String, Path, example = "Condition")), request_body = ResourceSearch,
    responses((status = 200, description = "A page.", body = ResourcePage), OneJob, BadBody, Changes, Always))]
pub async fn search(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path((id, resource_type)): Path<(String, String)>,
    request: Request,
) -> Result<Json<ResourcePage>, Problem> {
    let id = job_id(&id)?;
    let body: ResourceSearch = serde_json::from_value(json_body(request).await?).map_err(|_| {
        Problem::invalid("The body must be an object with text or patient, and where wanted after and limit; nothing else.")
    })?;
    if let Some(text) = &body.text {
        check_text(text)?;
    }
    let wanted = Wanted {
        resource_type: &resource_type,
        patient: body.patient.as_deref(),
        text: body.text.as_deref(),
        after: body.after.as_deref(),
    };
    page(&state, &caller, id, &wanted, body.limit).await
}

/// Refuses what is too short or too long to be searched for.
pub fn check_text(text: &str) -> Result<(), Problem> {
    if TEXT.contains(&text.chars().count()) && !text.contains('\0') {
        return Ok(());
    }
    Err(Problem::invalid(format!("text must have {} to {} characters.", TEXT.start(), TEXT.end())))
}

async fn page(state: &ApiState, caller: &Caller, id: Uuid, wanted: &Wanted<'_>, limit: Option<i64>) -> Result<Json<ResourcePage>, Problem> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Problem::invalid(format!("limit must be a number from 1 to {LARGEST_LIMIT}.")));
    }
    let export = browse::export(state, id).await?;
    let found = browse::list(state, caller, export.export_id, wanted, limit).await?;
    Ok(Json(ResourcePage { resources: found.resources.into_iter().map(ListedResource::from).collect(), next: found.next }))
}

impl From<Listed> for ListedResource {
    fn from(Listed { id, patient_id, last_updated, about }: Listed) -> Self {
        Self { id, patient_id, last_updated, about }
    }
}

/// One resource, as it is stored. Who looked is written to the audit log.
#[utoipa::path(get, path = "/api/bulk-data/jobs/{job_id}/resources/{resource_type}/{id}", operation_id = "resource", tag = "data",
    params(("job_id" = Uuid, Path), ("resource_type" = String, Path, example = "Condition"), ("id" = String, Path)),
    responses((status = 200, description = "The resource.", content_type = "application/fhir+json", body = Object), OneJob, Always))]
pub async fn one(
    State(state): State<Arc<ApiState>>,
    caller: Caller,
    Path((job, resource_type, id)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let export = browse::export(&state, job_id(&job)?).await?;
    let text = browse::one(&state, &caller, export.export_id, &resource_type, &id).await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"))], text).into_response())
}
