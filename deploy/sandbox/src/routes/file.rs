//! The files (Bulk Data Access IG, "Bulk Data Output File Request"), with gzip, ranges and validators of RFC 9110.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::manifest::{self, UNKNOWN_PATIENTS};
use super::{flood, made};
use crate::app::App;
use crate::auth::scope::{self, Need};
use crate::content;
use crate::door;
use crate::faults::{Flood, Severity, Transfer as Fault, What, Where};
use crate::links::{self, Links};
use crate::outcome::{Refused, outcome};
use crate::output::OutputFile;
use crate::switches::Bodies;
use crate::transfer::Transfer;
use crate::wire::Wire;

/// The file; or, where files are elsewhere, a signed link to it.
pub async fn download(
    State(app): State<Arc<App>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path((id, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if app.switches.files.link_lifetime.is_some() {
        links::check(&app, uri.path(), uri.query())?;
    }
    if app.switches.files.bodies != Bodies::Here {
        app.export(&id)?;
        let link = Links::new(&app, &headers).signed(&id, &name);
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, link)]).into_response());
    }
    serve(app, wire, id, name, uri, headers).await
}

/// The file at the other origin.
pub async fn signed(
    State(app): State<Arc<App>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    Path((id, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    links::refuse_tokens(&app, &headers)?;
    links::check(&app, uri.path(), uri.query())?;
    serve(app, wire, id, name, uri, headers).await
}

async fn serve(app: Arc<App>, wire: Wire, id: String, name: String, uri: Uri, headers: HeaderMap) -> Result<Response, Refused> {
    let export = app.export(&id)?;
    let ready = door::now() >= export.ready;
    if !ready && !export.wish.partial_manifests {
        return Err(Refused::not_found("The export is not ready yet"));
    }
    refuse_a_crowd(&app)?;
    let output = app.output(&export).await;
    if !ready && !manifest::file_has_come(&export, &output, &name) {
        return Err(Refused::not_found("The file is not ready yet"));
    }
    if let Some(recipe) = output.iter().find(|file| file.name == name).and_then(|file| file.recipe.as_ref()) {
        return Ok(made::respond(&app, recipe, recipe.gzip && accepts_gzip(&headers)));
    }
    let file = output.iter().find(|file| file.name == name);
    if let Some(file) = file.filter(|file| !file.kind.is_empty() && !uri.path().starts_with("/signed/")) {
        scope::demand(&app, &headers, &file.kind, &[Need::Read])?;
    }
    let flood = file.and_then(|file| take_flood(&app, uri.path(), accepts_gzip(&headers)).map(|flood| (file, flood)));
    if let Some((file, flood)) = flood {
        return Ok(flood::respond(&app, &file.lines, flood));
    }
    let whole = match name.as_str() {
        UNKNOWN_PATIENTS => about_unknown_patients(&manifest::unknown_patients(&app, &export)),
        _ => find(&app, &output, &name, uri.path())?,
    };
    let tag = tag(&whole);
    let part = match answer_with(&headers, &tag, whole.len()) {
        Form::Unsatisfiable => return Ok(unsatisfiable(whole.len())),
        Form::Part(part) => Some(part),
        Form::Whole | Form::Gzip => None,
    };
    let gzip = part.is_none() && accepts_gzip(&headers);
    let faults = app.faults.take_each(Where::File, uri.path(), |what| match what {
        // Only what is compressed can be corrupted so; else the fault waits on.
        What::Transfer(Fault::CorruptGzip) if !gzip => None,
        What::Transfer(fault) => Some(*fault),
        _ => None,
    });
    app.count(|stats| stats.faults += faults.len() as u64);
    let length = whole.len();
    let mut body = match &part {
        Some(part) => whole.slice(part.clone()),
        None if gzip => compress(whole).await,
        None => whole,
    };
    if faults.contains(&Fault::CorruptGzip) {
        body = corrupt(&body);
    }
    Ok(respond(Transfer::new(app, wire, body, &faults), &tag, gzip, part, length))
}

fn respond(transfer: Transfer, tag: &str, gzip: bool, part: Option<Range<usize>>, whole: usize) -> Response {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).expect("ASCII"));
    };
    set(header::CONTENT_TYPE, "application/fhir+ndjson");
    set(header::VARY, "Accept-Encoding");
    if gzip {
        // Another representation needs another strong validator (RFC 9110, section 8.8.3.3).
        set(header::ETAG, &format!("\"{tag}-gzip\""));
        set(header::CONTENT_ENCODING, "gzip");
        set(header::ACCEPT_RANGES, "none");
    } else {
        set(header::ETAG, &format!("\"{tag}\""));
        set(header::ACCEPT_RANGES, "bytes");
    }
    if let Some(length) = transfer.length() {
        set(header::CONTENT_LENGTH, &length.to_string());
    }
    let mut status = StatusCode::OK;
    if let Some(part) = part {
        status = StatusCode::PARTIAL_CONTENT;
        set(header::CONTENT_RANGE, &format!("bytes {}-{}/{whole}", part.start, part.end - 1));
    }
    (status, headers, transfer.into_body()).into_response()
}

fn take_flood(app: &App, path: &str, gzip: bool) -> Option<Flood> {
    let flood = app.faults.take(Where::File, path, |what| match what {
        // A bomb is none for who does not unpack it.
        What::Flood(Flood::GzipBomb(_)) if !gzip => None,
        What::Flood(flood) => Some(*flood),
        _ => None,
    })?;
    app.count(|stats| stats.faults += 1);
    Some(flood)
}

fn about_unknown_patients(ids: &[String]) -> Bytes {
    let text = format!("Not in the Group, or not there at all: Patient/{}", ids.join(", Patient/"));
    format!("{}\n", outcome("warning", "not-found", &text)).into()
}

/// Some servers lose files when too many are read at once, and say anything at all.
fn refuse_a_crowd(app: &App) -> Result<(), Refused> {
    let files = &app.switches.files;
    let now = app.stats().borrow().files_now;
    if files.most_downloads.is_none_or(|most| now < most) {
        return Ok(());
    }
    app.count(|stats| stats.crowded += 1);
    let status = files.over_downloads.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    Err(Refused::new(status, "throttled", "Too many downloads at the same time"))
}

/// The file's bytes, with the faults of content that wait for it.
fn find(app: &App, output: &[OutputFile], name: &str, path: &str) -> Result<Bytes, Refused> {
    if let Some(special) = special(output, name) {
        return Ok(special);
    }
    let file = output.iter().find(|file| file.name == name).ok_or_else(|| Refused::not_found(format!("The export has no file {name}")))?;
    let fault = app.faults.take(Where::File, path, |what| match what {
        What::Content(fault) => Some(*fault),
        _ => None,
    });
    let Some(fault) = fault else { return Ok(file.lines.bytes()) };
    app.count(|stats| stats.faults += 1);
    Ok(content::spoil(&file.lines, fault))
}

/// Files that only a fault of the manifest names: `Type.again.ndjson`, `deleted.<resources>.ndjson` and
/// `OperationOutcome.<severity>.ndjson`.
fn special(output: &[OutputFile], name: &str) -> Option<Bytes> {
    let stem = name.strip_suffix(".ndjson")?;
    if let Some(kind) = stem.strip_suffix(".again") {
        let first = output.iter().find(|file| file.kind == kind)?;
        return Some(content::repeated(&first.lines).into());
    }
    if let Some(resources) = stem.strip_prefix("deleted.") {
        return Some(content::deletions(resources.parse().ok()?).into());
    }
    let severity = Severity::ALL.into_iter().find(|severity| stem == format!("OperationOutcome.{}", severity.code()))?;
    let line = outcome(severity.code(), "processing", "One resource could not be exported");
    Some(format!("{line}\n").into())
}

/// A strong validator: the same for the same bytes, today and after a restart.
fn tag(body: &[u8]) -> String {
    // `DefaultHasher::new` has fixed keys; only a new Rust may change it, and then clients start the file anew.
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("{:016x}", hasher.finish())
}

#[derive(Debug, PartialEq)]
enum Form {
    Whole,
    Gzip,
    Part(Range<usize>),
    Unsatisfiable,
}

/// Ranges are of the identity form only; who accepts gzip gets a range only with an `If-Range` that names that form.
fn answer_with(headers: &HeaderMap, tag: &str, length: usize) -> Form {
    let gzip = accepts_gzip(headers);
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let same = text(header::IF_RANGE).map(|known| known == format!("\"{tag}\""));
    match (text(header::RANGE), same) {
        (Some(range), Some(true)) => parse_range(range, length),
        (Some(range), None) if !gzip => parse_range(range, length),
        _ if gzip => Form::Gzip,
        _ => Form::Whole,
    }
}

/// One range (RFC 9110, section 14.1.2); several, or another unit, are ignored as the RFC allows.
fn parse_range(text: &str, length: usize) -> Form {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Form::Whole;
    };
    let range = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return Form::Whole,
    };
    if range.start >= range.end {
        return Form::Unsatisfiable;
    }
    Form::Part(range)
}

fn unsatisfiable(length: usize) -> Response {
    let range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
    (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response()
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

async fn compress(body: Bytes) -> Bytes {
    let packed = tokio::task::spawn_blocking(move || {
        let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
        gzip.write_all(&body).and_then(|()| gzip.finish()).expect("memory takes every write")
    });
    packed.await.expect("compressing does not panic").into()
}

/// Turns bytes in the middle round: the checksum at the end cannot hold.
fn corrupt(packed: &[u8]) -> Bytes {
    let mut packed = packed.to_vec();
    let middle = packed.len() / 2;
    let end = (middle + 16).min(packed.len());
    for byte in &mut packed[middle..end] {
        *byte ^= 0xff;
    }
    packed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges() {
        assert_eq!(parse_range("bytes=0-9", 100), Form::Part(0..10));
        assert_eq!(parse_range("bytes=90-200", 100), Form::Part(90..100));
        assert_eq!(parse_range("bytes=40-", 100), Form::Part(40..100));
        assert_eq!(parse_range("bytes=-5", 100), Form::Part(95..100));
        assert_eq!(parse_range("bytes=100-", 100), Form::Unsatisfiable);
        assert_eq!(parse_range("bytes=0-1,4-5", 100), Form::Whole);
        assert_eq!(parse_range("lines=0-1", 100), Form::Whole);
    }
}
