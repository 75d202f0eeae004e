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
        export::{Export, ExportState},
        failure::Failure,
        finding::Finding,
        outgoing::without_query,
    },
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{being_deleted, job_id, no_such_job};
use crate::{ApiState, answer::Links, headers, problem::Problem};

/// Sentences of the story that are shown.
const EVENTS: i64 = 50;
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

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
            () = watch.changed(deadline) => sleep_until(earliest.min(deadline)).await,
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
    let export = exports::get(&mut *tx, id).await?.ok_or_else(|| no_such_job(id))?;
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

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the guide's words")]
struct Status {
    job_id: Uuid,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    status_url: Option<String>,
    fhir_server_url: String,
    level: &'static str,
    /// `bulk`, or `search` where there was no bulk export to be had.
    route: &'static str,
    group_id: Option<String>,
    resource_types: Vec<String>,
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<Uuid>,
    records_loaded: i64,
    files: Vec<File>,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    stages: BTreeMap<String, BTreeMap<String, i64>>,
    events: Vec<Event>,
    links: Links,
}

#[derive(Serialize)]
struct File {
    n: i32,
    #[serde(rename = "type")]
    resource_type: Option<String>,
    kind: String,
    /// Its query may hold a signature.
    url: String,
    state: String,
    expected_count: Option<i64>,
    lines: i64,
    rows: i64,
    duplicates: i64,
    rejects: i64,
    bytes: i64,
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
