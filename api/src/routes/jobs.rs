//! `GET /api/bulk-data/jobs`: the exports, newest first, page by page.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_shared::{
    db::{
        exports::{self, Filter, Is, Listed, Place},
        sources,
    },
    domain::{
        export::{ExportState, Level},
        failure::Reason,
    },
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    ApiState,
    answer::Links,
    openapi::{Always, BadQuery, JobStatus},
    problem::{Kind, Problem},
    request::{base_url, group_segment, reason},
};

const DEFAULT_LIMIT: i64 = 50;
const LARGEST_LIMIT: i64 = 500;
pub const PARAMETERS: &[&str] = &["status", "group", "source", "reason", "limit", "after"];

/// A page of the list.
#[derive(Serialize, ToSchema)]
#[schema(as = JobPage)]
pub struct Page {
    /// The newest first.
    jobs: Vec<Job>,
    /// The next page's URL; null on the last page.
    #[schema(required, example = "/api/bulk-data/jobs?status=failed&after=AAYL...")]
    next: Option<String>,
}

/// An export in the list.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the guide's words")]
pub struct Job {
    /// The job's id; also the `etl_job_id` of its rows.
    job_id: Uuid,
    #[schema(value_type = JobStatus)]
    status: &'static str,
    #[schema(value_type = Level)]
    level: String,
    /// The Group's id, as it stands in URLs; null when it is not the export of a Group.
    #[schema(required, example = "BMCHealthNet")]
    group_id: Option<String>,
    /// The server's FHIR base URL.
    fhir_server_url: String,
    /// The types that were asked for; empty: all.
    resource_types: Vec<String>,
    /// Rows of its output files in the database.
    records_loaded: i64,
    /// How many files the manifest has named so far.
    files: i64,
    /// The job that asks the same and runs; this one starts when that one ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<Uuid>,
    /// What went wrong, when it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// When it was submitted.
    created_at: DateTime<Utc>,
    /// When it ended.
    #[schema(required)]
    finished_at: Option<DateTime<Utc>>,
    links: Links,
}

/// The exports, newest first, page by page.
///
/// Each page names the next: follow `next` as it was given. What is submitted meanwhile shifts nothing.
#[utoipa::path(get, path = "/api/bulk-data/jobs", operation_id = "list_jobs", tag = "exports",
    params(
        ("status" = Option<JobStatus>, Query, description = "Only those that stand here."),
        ("group" = Option<String>, Query, description = "Only this Group's.", example = "BMCHealthNet"),
        ("source" = Option<String>, Query, description = "Only this server's: its FHIR base URL."),
        ("reason" = Option<Reason>, Query, description = "Only those that failed for this reason."),
        ("limit" = Option<i64>, Query, description = "Exports a page; 50 if it is not given.", minimum = 1, maximum = 500),
        ("after" = Option<String>, Query, description = "Where the page before ended; it stands in `next`."),
    ),
    responses((status = 200, description = "A page.", body = Page), BadQuery, Always))]
pub async fn list(State(state): State<Arc<ApiState>>, RawQuery(query): RawQuery) -> Result<Json<Page>, Problem> {
    let query = Query::parse(query.as_deref().unwrap_or_default())?;
    let sources = match &query.source {
        Some(base_url) => Some(Is::a(sources::at(&state.pool, base_url).await?)),
        None => None,
    };
    let filter = Filter {
        states: query.states.clone().map(Is::a),
        group_id: query.group.clone().map(Is::a),
        sources,
        reason: query.reason.map(Is::a),
        ..Filter::default()
    };
    // One more than asked for tells whether there is a next page.
    let mut listed = exports::page(&state.pool, &filter, query.after, query.limit + 1).await?;
    let more = i64::try_from(listed.len()).unwrap_or(i64::MAX) > query.limit;
    if more {
        listed.pop();
    }
    let next = listed.last().filter(|_| more).map(|last| query.next(last));
    let jobs = listed.into_iter().map(job).collect::<Result<_, _>>()?;
    Ok(Json(Page { jobs, next }))
}

fn job(listed: Listed) -> Result<Job, Problem> {
    let unknown = |word| Problem::from(sqlx::Error::from(word));
    let state: ExportState = listed.state.parse().map_err(unknown)?;
    let reason = listed.failure_reason.map(|reason| reason.parse()).transpose().map_err(unknown)?;
    Ok(Job {
        job_id: listed.id,
        status: state.on_the_wire(),
        level: listed.level,
        group_id: listed.group_id,
        fhir_server_url: listed.base_url,
        resource_types: listed.resource_types,
        records_loaded: listed.rows,
        files: listed.files,
        waits_for: listed.waits_for,
        error: listed.failure_detail,
        created_at: listed.created_at,
        finished_at: listed.finished_at,
        links: Links::of(listed.id, state, reason),
    })
}

/// The query, checked.
struct Query {
    states: Option<Vec<ExportState>>,
    group: Option<String>,
    source: Option<String>,
    reason: Option<Reason>,
    limit: i64,
    after: Option<Place>,
    /// As given, without `after`: the next page asks the same.
    given: Vec<(String, String)>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Problem> {
        let mut query =
            Self { states: None, group: None, source: None, reason: None, limit: DEFAULT_LIMIT, after: None, given: Vec::new() };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match name.as_ref() {
                "status" => query.states = Some(states(&value)?),
                "group" => query.group = Some(group_segment(&value)),
                "source" => query.source = Some(base_url(&value)),
                "reason" => query.reason = Some(reason(&value)?),
                "limit" => query.limit = limit(&value)?,
                "after" => query.after = Some(read_cursor(&value)?),
                _ => return Err(unknown(&name)),
            }
            if name != "after" {
                query.given.push((name.into_owned(), value.into_owned()));
            }
        }
        Ok(query)
    }

    fn next(&self, last: &Listed) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.given).append_pair("after", &cursor(Place { at: last.created_at, id: last.id }));
        format!("/api/bulk-data/jobs?{}", query.finish())
    }
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(60).collect();
    Problem::new(Kind::UnknownField, format!("unknown query parameter {shown:?}; known ones are {}.", PARAMETERS.join(", ")))
}

/// The states behind a word of the wire.
fn states(word: &str) -> Result<Vec<ExportState>, Problem> {
    let states: Vec<ExportState> = ExportState::ALL.iter().copied().filter(|state| state.on_the_wire() == word).collect();
    if states.is_empty() {
        return Err(Problem::invalid("status must be one of queued, in-progress, downloading, loading, completed, failed, cancelled."));
    }
    Ok(states)
}

fn limit(text: &str) -> Result<i64, Problem> {
    text.parse()
        .ok()
        .filter(|limit| (1..=LARGEST_LIMIT).contains(limit))
        .ok_or_else(|| Problem::invalid(format!("limit must be a number from 1 to {LARGEST_LIMIT}.")))
}

/// Where a page ends, opaque to clients.
pub fn cursor(place: Place) -> String {
    URL_SAFE_NO_PAD.encode([&place.at.timestamp_micros().to_be_bytes()[..], place.id.as_bytes()].concat())
}

pub fn read_cursor(text: &str) -> Result<Place, Problem> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (at, id) = bytes.split_at_checked(8)?;
        let at = DateTime::from_timestamp_micros(i64::from_be_bytes(at.try_into().ok()?))?;
        Some(Place { at, id: Uuid::from_slice(id).ok()? })
    };
    read().ok_or_else(|| Problem::invalid("after is not a cursor of this list; follow `next` as it was given, or start without after."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let place = Place { at, id: Uuid::now_v7() };
        assert_eq!(read_cursor(&cursor(place)).unwrap(), place);
        assert!(read_cursor("AAAA").is_err());
    }

    #[test]
    fn the_next_page_asks_the_same() {
        let query = Query::parse("status=in-progress&group=a%20b&limit=2&after=").err();
        assert!(query.is_some(), "an empty cursor is refused");
        let query = Query::parse("status=in-progress&group=a%20b&limit=2").unwrap();
        assert_eq!(query.states.unwrap(), [ExportState::KickingOff, ExportState::InProgress]);
        assert_eq!(query.group.unwrap(), "a%20b");
        assert_eq!(query.given.len(), 3);
    }

    #[test]
    fn unknown_parameters_are_refused_by_name() {
        assert!(Query::parse("page=2").err().unwrap().detail.contains("\"page\""));
    }
}
