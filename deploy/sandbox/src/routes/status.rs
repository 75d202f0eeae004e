//! The status URL: waiting, the manifest, deletion (Bulk Data Access IG, "Bulk Data Status Request").

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::task::block_in_place;

use super::kick_off::refuse_too_many_files;
use super::manifest::{self, Pages};
use crate::app::{App, later};
use crate::door;
use crate::faults::{Manifest, Pending, RetryAfter, What, Where};
use crate::links::Links;
use crate::outcome::{Refused, http_date};
use crate::state::Export;
use crate::switches::TooManyAt;

/// Parts of the query: `page` and `of`, and how the last page ends.
type Asked = HashMap<String, usize>;

pub async fn poll(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let mut export = app.export(&id)?;
    let pending = app.faults.take(Where::Status, uri.path(), |what| match what {
        What::Pending(fault) => Some(fault.clone()),
        _ => None,
    });
    if pending.is_some() {
        app.count(|stats| stats.faults += 1);
    }
    let ready = door::now() >= export.ready;
    if pending.is_some() || (!ready && !export.wish.partial_manifests) {
        return Ok(wait(&app, &export, pending.unwrap_or_default()));
    }
    if ready && app.switches.kick_off.too_many_at == TooManyAt::Status {
        refuse_too_many_files(&app, &export).await?;
    }
    let faults = app.faults.take_each(Where::Status, uri.path(), |what| match what {
        What::Manifest(fault) => Some(fault.clone()),
        _ => None,
    });
    if !faults.is_empty() {
        tracing::info!(?faults, "faults");
        app.count(|stats| stats.faults += faults.len() as u64);
    }
    for fault in &faults {
        if let Manifest::Expires(time) = *fault {
            export = expire(&app, export, time);
        }
    }
    let output = app.output(&export).await;
    let mut pages = Pages::new(&asked, &faults);
    if export.wish.partial_manifests {
        pages.come_bit_by_bit(&export, output.len());
        if !pages.has_come() {
            return Ok(wait(&app, &export, Pending::default()));
        }
    }
    let links = Links::new(&app, &headers);
    let mut manifest = block_in_place(|| manifest::make(&app, &export, &links, pages.mine(&output)));
    if let Some(next) = pages.next() {
        let next = format!("{}/fhir/status/{id}?{next}", app.origin(&headers));
        manifest["link"] = json!([{"relation": "next", "url": next}]);
    }
    for fault in faults {
        manifest::spoil(&mut manifest, fault, &links, &export, &output);
    }
    app.count(|stats| stats.manifests += 1);
    let mut response = if ready { StatusCode::OK.into_response() } else { wait(&app, &export, Pending::default()) };
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set.insert(header::EXPIRES, http_date(export.expires));
    if ready && app.switches.status.separate_export_status {
        set.insert("X-Export-Status", HeaderValue::from_static("200 OK"));
    }
    *response.body_mut() = manifest.to_string().into();
    Ok(response)
}

/// Deletes the export; its status URL and files answer 404 from now on.
pub async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let deleted = app.change(|state, stats| {
        let export = state.exports.remove(&id);
        stats.deletes += u64::from(export.is_some());
        export
    });
    app.forget_output(&id);
    let done = app.switches.status.delete.and_then(|status| StatusCode::from_u16(status).ok());
    match deleted {
        Some(_) => Ok(done.unwrap_or(StatusCode::ACCEPTED).into_response()),
        None => Err(Refused::not_found("There is no such export: it was deleted, or never was")),
    }
}

fn wait(app: &App, export: &Export, fault: Pending) -> Response {
    let whole = (export.ready - export.created).num_milliseconds().max(1);
    let done = (door::now() - export.created).num_milliseconds().clamp(0, whole);
    let progress = fault.progress.unwrap_or_else(|| format!("{}% complete", done * 100 / whole));
    let mut response = StatusCode::ACCEPTED.into_response();
    let set = response.headers_mut();
    if let Ok(progress) = HeaderValue::try_from(progress) {
        set.insert("X-Progress", progress);
    }
    let after = fault.retry_after.or(app.config.retry_after.map(RetryAfter::Seconds));
    if let Some(after) = after {
        set.insert(header::RETRY_AFTER, after.value());
    }
    if app.switches.status.separate_export_status {
        set.insert("X-Export-Status", HeaderValue::from_static("202 Accepted"));
        *response.status_mut() = StatusCode::OK;
    }
    response
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
