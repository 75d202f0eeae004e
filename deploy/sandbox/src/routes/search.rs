//! `GET /fhir/{type}?..`, `POST /fhir/{type}/_search` and `GET /fhir/{type}/{id}` (R4, "RESTful API").

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::task::block_in_place;

use super::bundle::Page;
use super::group;
use crate::app::App;
use crate::auth::scope::{self, Need};
use crate::outcome::Refused;
use crate::search::{self, Look, Parameters, Query};

/// Entries of a page when the client does not say.
const USUAL_PAGE: usize = 100;

pub async fn by_get(
    State(app): State<Arc<App>>,
    Path(kind): Path<String>,
    RawQuery(query): RawQuery,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    answer(&app, &kind, query.unwrap_or_default(), &uri, &headers)
}

/// The parameters of the body and those of the URL together.
pub async fn by_post(
    State(app): State<Arc<App>>,
    Path(kind): Path<String>,
    RawQuery(query): RawQuery,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    if !app.switches.search.by_post {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", "Search by POST is not supported"));
    }
    let form = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if !form {
        let text = "The Content-Type of a search must be application/x-www-form-urlencoded";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
    }
    let body = String::from_utf8_lossy(&body);
    let all = [query.as_deref().unwrap_or_default(), &body].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
    answer(&app, &kind, all, &uri, &headers)
}

/// The Groups are searched as all else.
pub async fn groups(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    answer(&app, "Group", query.unwrap_or_default(), &uri, &headers)
}

pub async fn read(
    State(app): State<Arc<App>>,
    Path((kind, id)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if !app.world.kinds().contains_key(&kind) {
        return Err(super::nothing(uri).await);
    }
    scope::demand(&app, &headers, &kind, &[Need::Read])?;
    let query = Query { kind: kind.clone(), ids: Some(vec![id.clone()]), ..Query::default() };
    let found = block_in_place(|| search::find(&app.world, &query)).into_iter().next();
    let line = found.ok_or_else(|| Refused::not_found(format!("There is no {kind}/{id}")))?;
    app.count(|stats| stats.reads += 1);
    Ok(([(header::CONTENT_TYPE, "application/fhir+json; charset=utf-8")], line).into_response())
}

fn answer(app: &Arc<App>, kind: &str, query: String, uri: &Uri, headers: &HeaderMap) -> Result<Response, Refused> {
    let kinds = app.world.kinds();
    let of_patient = kinds.get(kind).copied();
    let switches = &app.switches.search;
    // A server without search may still list its Groups.
    if kind != "Group" && (of_patient.is_none() || !switches.on) {
        let text = format!("Searching {kind} is not supported");
        return Err(Refused::new(StatusCode::NOT_FOUND, "not-supported", text));
    }
    scope::demand(app, headers, kind, &[Need::Search])?;
    let length = uri.path_and_query().map_or(0, |whole| whole.as_str().len());
    if switches.longest_url.is_some_and(|longest| length > longest) {
        let text = format!("The URL is {length} characters long, and that is too long: search by POST");
        return Err(Refused::new(StatusCode::URI_TOO_LONG, "too-long", text));
    }
    let (cursor, query) = Cursor::read(app, query)?;
    let parameters: Parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let (wanted, look) = search::read(kind, of_patient.unwrap_or(false), &parameters, is_lenient(headers), switches)?;
    let name = name(kind, &query);
    let base = format!("{}/fhir", app.origin(headers));
    let found = app.found(&name, || match kind {
        "Group" => group::lines(app, &wanted, &base),
        _ => search::find(&app.world, &wanted),
    });
    let (offset, size) = cursor.unwrap_or((0, look.count.unwrap_or(USUAL_PAGE).min(switches.page)));
    let only_total = look.only_total || size == 0;
    let page = Page {
        kind,
        base: &base,
        name: &name,
        this: itself(&format!("{}{}", app.origin(headers), uri.path()), uri.query(), &switches.ignore),
        found: &found,
        offset,
        size: if only_total { 0 } else { size },
        total: has_total(switches.total, &look),
    };
    let faults = Page::faults(app, uri.path());
    if page.is_not_the_last() || !faults.is_empty() {
        app.keep_search(&name, &query);
    }
    app.count(|stats| {
        stats.searches += 1;
        stats.faults += faults.len() as u64;
    });
    Ok(page.answer(&faults))
}

/// The link to the page itself: what was asked, without what is not applied.
fn itself(path: &str, query: Option<&str>, ignored: &[String]) -> String {
    let applied = |(name, _): &(Cow<str>, Cow<str>)| !ignored.iter().any(|ignored| *ignored == **name);
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(applied);
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn has_total(switch: bool, look: &Look) -> bool {
    look.only_total || look.count == Some(0) || (switch && !look.no_total)
}

fn is_lenient(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ';'])).any(|part| part.trim().eq_ignore_ascii_case("handling=lenient"))
}

/// What a `next` link says: `_cursor=<name>.<offset>.<size>`. It never expires.
struct Cursor;

impl Cursor {
    /// The place of the page, and the parameters of its search.
    fn read(app: &App, query: String) -> Result<(Option<(usize, usize)>, String), Refused> {
        let cursor = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "_cursor").map(|(_, value)| value.into_owned());
        let Some(cursor) = cursor else { return Ok((None, query)) };
        let gone = || Refused::new(StatusCode::GONE, "not-found", "There is no such page: search anew");
        let mut parts = cursor.split('.');
        let name = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or_else(gone);
        let place = (number()?, number()?);
        let kept = app.read(|state| state.searches.get(name).cloned()).ok_or_else(gone)?;
        Ok((Some(place), kept))
    }
}

/// The same for the same search, today and after a restart.
fn name(kind: &str, query: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(kind.as_bytes());
    hasher.write(query.as_bytes());
    format!("{:016x}", hasher.finish())
}
