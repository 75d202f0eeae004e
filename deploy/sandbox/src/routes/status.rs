//! The status URL: waiting, the manifest, deletion (Bulk Data Access IG, "Bulk Data Status Request").

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::app::{App, later};
use crate::content::REPEATED;
use crate::door;
use crate::faults::{Content, Manifest, What, Where};
use crate::outcome::{Refused, http_date};
use crate::output::OutputFile;
use crate::state::Export;

pub async fn poll(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, usize>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let mut export = app.export(&id)?;
    if door::now() < export.ready {
        return Ok(wait(&app, &export));
    }
    let faults = app.faults.take_each(Where::Status, uri.path(), |what| match what {
        What::Manifest(fault) => Some(*fault),
        _ => None,
    });
    if !faults.is_empty() {
        tracing::info!(?faults, "faults");
        app.count(|stats| stats.faults += faults.len() as u64);
    }
    let base = format!("{}/fhir", app.origin(&headers));
    let output = app.output(&export).await;
    let mut pages = Pages { page: query.get("page").copied().unwrap_or(1).max(1), of: query.get("of").copied().unwrap_or(1).max(1) };
    for fault in &faults {
        match *fault {
            Manifest::NextPages(of) => pages.of = of,
            Manifest::Expires(time) => export = expire(&app, export, time),
            _ => {}
        }
    }
    let mut manifest = manifest(&app, &export, &base, pages.mine(&output));
    if pages.page < pages.of {
        let next = format!("{base}/status/{id}?page={}&of={}", pages.page + 1, pages.of);
        manifest["link"] = json!([{"relation": "next", "url": next}]);
    }
    for fault in faults {
        spoil(&mut manifest, fault, &base, &export, &output);
    }
    app.count(|stats| stats.manifests += 1);
    let headers = [(header::CONTENT_TYPE, "application/json".parse().expect("ASCII")), (header::EXPIRES, http_date(export.expires))];
    Ok((headers, manifest.to_string()).into_response())
}

/// Deletes the export; its status URL and files answer 404 from now on.
pub async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let deleted = app.change(|state, stats| {
        let export = state.exports.remove(&id);
        stats.deletes += u64::from(export.is_some());
        export
    });
    app.forget_output(&id);
    match deleted {
        Some(_) => Ok(StatusCode::ACCEPTED.into_response()),
        None => Err(Refused::not_found("There is no such export: it was deleted, or never was")),
    }
}

fn wait(app: &App, export: &Export) -> Response {
    let whole = (export.ready - export.created).num_milliseconds().max(1);
    let done = (door::now() - export.created).num_milliseconds().clamp(0, whole);
    let progress = format!("{}% complete", done * 100 / whole);
    let mut response = (StatusCode::ACCEPTED, [("X-Progress", progress)]).into_response();
    if let Some(seconds) = app.config.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Which part of the manifest is asked for (Bulk Data Access IG 3.0, `link` with relation `next`).
struct Pages {
    page: usize,
    of: usize,
}

impl Pages {
    fn mine<'a>(&self, output: &'a [OutputFile]) -> &'a [OutputFile] {
        let at = |page: usize| (output.len() * page.min(self.of)) / self.of;
        &output[at(self.page - 1)..at(self.page)]
    }
}

fn manifest(app: &App, export: &Export, base: &str, files: &[OutputFile]) -> Value {
    let output: Vec<_> = files
        .iter()
        .map(|file| {
            let url = format!("{base}/files/{}/{}", export.id, file.name);
            json!({"type": file.kind, "url": url, "count": count(app, file, &url)})
        })
        .collect();
    json!({
        // Everything older is in the files: the data was there before the kick-off.
        "transactionTime": export.created.to_rfc3339_opts(SecondsFormat::Millis, true),
        "request": export.request,
        "requiresAccessToken": app.config.auth,
        "output": output,
        "deleted": [],
        "error": [],
    })
}

/// The lines the file will have: a fault that will repeat some is foreseen, as a server with duplicates counts them too.
fn count(app: &App, file: &OutputFile, url: &str) -> u64 {
    let repeats = app.faults.waits(Where::File, url, &What::Content(Content::DuplicateIds));
    file.count() + if repeats { file.lines.len().min(REPEATED) as u64 } else { 0 }
}

fn expire(app: &App, mut export: Export, time: std::time::Duration) -> Export {
    export.expires = later(door::now(), time);
    app.change(|state, _| {
        if let Some(kept) = state.exports.get_mut(&export.id) {
            kept.expires = export.expires;
        }
    });
    export
}

fn spoil(manifest: &mut Value, fault: Manifest, base: &str, export: &Export, output: &[OutputFile]) {
    let url = |name: &str| format!("{base}/files/{}/{name}", export.id);
    match fault {
        Manifest::WrongCount => {
            if let Some(count) = manifest["output"][0]["count"].as_u64() {
                manifest["output"][0]["count"] = json!(count + 1);
            }
        }
        Manifest::DuplicateAcrossFiles => {
            let mut firsts: Vec<&OutputFile> = output.iter().collect();
            firsts.dedup_by(|later, first| later.kind == first.kind);
            let files = manifest["output"].as_array_mut().into_iter();
            for files in files {
                files.extend(firsts.iter().map(|first| {
                    let again = url(&format!("{}.again.ndjson", first.kind));
                    json!({"type": first.kind, "url": again, "count": first.lines.len().min(REPEATED)})
                }));
            }
        }
        Manifest::ErrorOutcome(severity) => {
            let file = url(&format!("OperationOutcome.{}.ndjson", severity.code()));
            manifest["error"] = json!([{"type": "OperationOutcome", "url": file, "count": 1}]);
        }
        Manifest::Empty => manifest["output"] = json!([]),
        Manifest::NoOutput => {
            manifest.as_object_mut().map(|manifest| manifest.remove("output"));
        }
        // Done before the manifest was made.
        Manifest::NextPages(_) | Manifest::Expires(_) => {}
    }
}
