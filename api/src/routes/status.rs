//! `GET /api/bulk-data/status/{job_id}` (and `/jobs/{job_id}`): where an export stands, all of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_shared::{
    db::{
        export_events::{self, Event},
        export_files::{self, FileListed},
        exports, sources, stages,
    },
    domain::{
        export::{Export, ExportState, Level, Purpose, Route},
        failure::Failure,
        file::{FileKind, FileState},
        finding::Finding,
        outgoing::without_query,
    },
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{being_deleted, job_id, no_such_job};
use crate::{
    ApiState,
    answer::Links,
    headers,
    openapi::{Always, JobStatus, OneJob},
    problem::Problem,
};

/// Sentences of the story that are shown.
const EVENTS: i64 = 50;
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// Where an export stands, all of it.
///
/// With `Prefer: wait=N` the answer comes when the status changes or N seconds are over; with `If-None-Match` too, when anything changes.
#[utoipa::path(get, path = "/api/bulk-data/status/{job_id}", operation_id = "status", tag = "exports",
    params(
        ("job_id" = Uuid, Path, description = "The `job_id` that the kick-off answered."),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for news, at most 60; without it the answer comes at once.", example = "wait=30"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer: 304 if nothing has changed since."),
    ),
    responses(
        (status = 200, description = "The status.", body = Status, headers(("ETag" = String, description = "Of this answer."))),
        (status = 304, description = "Nothing has changed since the answer with this `ETag`."),
        OneJob, Always
    ))]
pub async fn read(State(state): State<Arc<ApiState>>, Path(id): Path<String>, head: HeaderMap) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let wait = headers::wait(&head).unwrap_or_default();
    let deadline = Instant::now() + wait;
    let mut watch = (!wait.is_zero()).then(|| state.changes.watch(id));
    let conditional = head.contains_key(header::IF_NONE_MATCH);
    let mut first = None;
    loop {
        let began = Instant::now();
        if let Some(watch) = &mut watch {
            watch.look();
        }
        let seen = look(&state.pool, id).await?;
        let known = headers::has_it(&head, &seen.etag);
        let status = *first.get_or_insert(seen.state.on_the_wire());
        let news = if conditional { !known } else { seen.state.on_the_wire() != status || seen.state.has_ended() };
        let Some(watch) = watch.as_mut().filter(|_| !news && Instant::now() < deadline && !state.stopping.is_cancelled()) else {
            return Ok(seen.answer(known));
        };
        // A large export costs more to look at: then it is looked at less often.
        let earliest = Instant::now() + (began.elapsed() * 4).max(SHORTEST_PAUSE);
        tokio::select! {
            () = state.stopping.cancelled() => {}
            _ = watch.changed(deadline) => sleep_until(earliest.min(deadline)).await,
        }
    }
}

/// The answer's body, and what a waiting client compares.
struct Seen {
    state: ExportState,
    etag: String,
    body: Vec<u8>,
}

impl Seen {
    fn answer(self, known: bool) -> Response {
        let etag = HeaderValue::try_from(self.etag).ok();
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], self.body).into_response()
        };
        response.headers_mut().extend(etag.map(|etag| (header::ETAG, etag)));
        response
    }
}

async fn look(pool: &PgPool, id: Uuid) -> Result<Seen, Problem> {
    let (state, status) = snapshot(pool, id).await?;
    let body = serde_json::to_vec(&status).map_err(Problem::internal)?;
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(&body)[..16]));
    Ok(Seen { state, etag, body })
}

/// Everything as of one moment.
async fn snapshot(pool: &PgPool, id: Uuid) -> Result<(ExportState, Status), Problem> {
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let export = exports::get(&mut *tx, id).await?.filter(|export| export.purpose == Purpose::Export).ok_or_else(|| no_such_job(id))?;
    if export.delete_requested_at.is_some() {
        return Err(being_deleted(id));
    }
    let base_url = sources::base_url(&mut *tx, export.source_id).await?;
    let files = export_files::list(&mut *tx, id).await?;
    let said = stages::progress(&mut *tx, id).await?;
    let mut counts: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for stage in stages::summary(&mut *tx, id).await? {
        counts.entry(stage.kind).or_default().insert(stage.state, stage.count);
    }
    let events = export_events::last(&mut *tx, id, EVENTS).await?;
    tx.rollback().await?;
    Ok((export.state, Status::of(export, base_url, files, said, counts, events)))
}

/// Where an export stands.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the guide's words")]
pub struct Status {
    /// The job's id; also the `etl_job_id` of its rows.
    job_id: Uuid,
    #[schema(value_type = JobStatus)]
    status: &'static str,
    /// A sentence, while there is something to say: the server's own `X-Progress`, or how much is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "3 of 5 files downloaded, 4 of 7 parts loaded, 12,345 resources")]
    progress: Option<String>,
    /// What went wrong; there exactly when `status` is `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples(
        "SMART authentication failed: Invalid JWT (the server said: invalid_client).",
        "Timeout exceeded: https://bulk-data.smarthealthit.org/fhir/bulkstatus/7b2c sent nothing for 300 s.",
        "Bulk export reported error: Too many files."
    ))]
    error: Option<String>,
    /// What to do about it; there with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "check that client_id is right, that the private key is the registered one, and that token_url is right")]
    remedy: Option<String>,
    /// The failure by its parts, for programs; there with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    /// The server's status URL; null until it has answered.
    #[schema(required)]
    status_url: Option<String>,
    /// The server's FHIR base URL. Of a resumed export: the origin of its status URL.
    #[schema(example = "https://bulk-data.smarthealthit.org/eyJlcnIi/fhir")]
    fhir_server_url: String,
    #[schema(value_type = Level)]
    level: &'static str,
    /// How its resources are had: by the server's bulk export, or by FHIR search where there was none to be had.
    #[schema(value_type = Route)]
    route: &'static str,
    /// The Group's id, as it stands in URLs; null when it is not the export of a Group.
    #[schema(required, example = "BMCHealthNet")]
    group_id: Option<String>,
    /// The types that were asked for; empty: all.
    resource_types: Vec<String>,
    /// Only what has changed since was asked for; as it was given.
    #[schema(required, example = "2023-01-01T00:00:00Z")]
    since: Option<String>,
    /// The job that asks the same and runs; this one starts when that one ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<Uuid>,
    /// Rows of its output files in the database.
    #[schema(minimum = 0)]
    records_loaded: i64,
    /// The files of the server's manifest.
    files: Vec<File>,
    /// Gaps and oddities: what keeps it from `completed`, and warnings.
    findings: Vec<Finding>,
    /// The server's time of its data (`transactionTime`), as it was written. Use it as the next export's `since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_time: Option<String>,
    /// When the server forgets the files (`Expires`).
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// When a person accepted its gaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<DateTime<Utc>>,
    /// When it was submitted.
    created_at: DateTime<Utc>,
    /// When a worker first took it.
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required)]
    finished_at: Option<DateTime<Utc>>,
    /// How many stages of each kind are in each state. Those of an ended export go after a day.
    #[schema(example = json!({"auth": {"done": 1}, "kick_off": {"done": 1}, "poll": {"running": 1}}))]
    stages: BTreeMap<String, BTreeMap<String, i64>>,
    /// The last 50 sentences of its story, oldest first.
    events: Vec<Event>,
    links: Links,
}

/// One entry of the manifest.
#[derive(Serialize, ToSchema)]
pub struct File {
    /// From 1, in the manifest's order.
    n: i32,
    /// The type of its resources, as the manifest says.
    #[serde(rename = "type")]
    #[schema(required, example = "Patient")]
    resource_type: Option<String>,
    /// Which array of the manifest listed it.
    #[schema(value_type = FileKind)]
    kind: String,
    /// Without its query, which may hold a signature.
    url: String,
    #[schema(value_type = FileState)]
    state: String,
    /// The manifest's `count`, where it gave one.
    #[schema(required)]
    expected_count: Option<i64>,
    /// Lines that were read so far, without empty ones: rows, duplicates and rejects together, once it is loaded.
    lines: i64,
    /// Rows in the database.
    rows: i64,
    /// Lines whose resource was there already.
    duplicates: i64,
    /// Lines that could not be loaded; they are kept in `rejected_lines`.
    rejects: i64,
    /// Uncompressed bytes that were read so far.
    bytes: i64,
    /// Why it could not be downloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Status {
    fn of(
        export: Export,
        fhir_server_url: String,
        files: Vec<FileListed>,
        said: Option<String>,
        stages: BTreeMap<String, BTreeMap<String, i64>>,
        events: Vec<Event>,
    ) -> Self {
        let records_loaded = files.iter().filter(|file| file.kind == "output").map(|file| file.rows).sum();
        Self {
            job_id: export.id,
            status: export.state.on_the_wire(),
            progress: progress(&export, &files, records_loaded, said),
            error: export.failure.as_ref().map(|failure| failure.detail.clone()),
            remedy: export.failure.as_ref().map(|failure| failure.remedy.clone()),
            links: Links::of(export.id, export.state, export.failure.as_ref().map(|failure| failure.reason)),
            failure: export.failure,
            status_url: export.status_url,
            fhir_server_url,
            level: export.ask.level.as_str(),
            route: export.route.as_str(),
            group_id: export.ask.group_id,
            resource_types: export.ask.resource_types,
            since: export.ask.since,
            waits_for: export.waits_for,
            records_loaded,
            files: files.into_iter().map(File::from).collect(),
            findings: export.findings,
            transaction_time: export.transaction_time,
            expires_at: export.expires_at,
            accepted_at: export.accepted_at,
            created_at: export.created_at,
            started_at: export.started_at,
            finished_at: export.finished_at,
            stages,
            events,
        }
    }
}

impl From<FileListed> for File {
    fn from(file: FileListed) -> Self {
        Self {
            n: file.n,
            resource_type: file.resource_type,
            kind: file.kind,
            url: without_query(&file.url),
            state: file.state,
            expected_count: file.expected_count,
            lines: file.lines,
            rows: file.rows,
            duplicates: file.duplicates,
            rejects: file.rejects,
            bytes: file.bytes,
            error: file.error,
        }
    }
}

/// A sentence for people, while there is something to say.
fn progress(export: &Export, files: &[FileListed], records: i64, said: Option<String>) -> Option<String> {
    match export.state {
        ExportState::Queued if export.waits_for.is_some() => export.waits_for.map(|id| format!("waits for {id}, which asks the same")),
        ExportState::Downloading | ExportState::Loading => {
            let here = files.iter().filter(|file| file.state == "downloaded").count();
            let (loaded, parts) = files.iter().fold((0, 0), |(loaded, parts), file| (loaded + file.parts_loaded, parts + file.parts));
            let (all, records) = (files.len(), thousands(records));
            Some(format!("{here} of {all} files downloaded, {loaded} of {parts} parts loaded, {records} resources"))
        }
        state if state.has_ended() => None,
        _ => said,
    }
}

/// 12345 -> "12,345".
fn thousands(n: i64) -> String {
    let digits = n.to_string();
    let mut shown = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (n, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(n), shown);
        }
    }
}
