//! `$export` at system, Patient and Group level (Bulk Data Access IG, "Bulk Data Kick-off Request").

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::before::cut;
use crate::app::{App, later};
use crate::door;
use crate::faults::{KickOff, What, Where};
use crate::outcome::{Refused, fhir, outcome};
use crate::state::Export;
use crate::wire::Wire;

/// The request, whichever method and level it came by.
pub struct Request {
    wire: Wire,
    group: Option<String>,
    uri: Uri,
    headers: HeaderMap,
}

/// What the client asks for.
#[derive(Debug, Default, PartialEq)]
struct Wish {
    types: Option<Vec<String>>,
    since: Option<DateTime<Utc>>,
}

type Parameters = Vec<(String, String)>;

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Request {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Response> {
        let ConnectInfo(wire) = ConnectInfo::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        // Absent at system and Patient level.
        let group = Path::<String>::from_request_parts(parts, state).await.ok();
        Ok(Self { wire, group: group.map(|Path(group)| group), uri: parts.uri.clone(), headers: parts.headers.clone() })
    }
}

pub async fn by_get(State(app): State<Arc<App>>, request: Request, RawQuery(query): RawQuery) -> Result<Response, Refused> {
    let query = query.unwrap_or_default();
    let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    kick_off(&app, request, parameters).await
}

pub async fn by_post(State(app): State<Arc<App>>, request: Request, body: Bytes) -> Result<Response, Refused> {
    let parameters = read_body(&body)?;
    kick_off(&app, request, parameters).await
}

async fn kick_off(app: &Arc<App>, request: Request, parameters: Parameters) -> Result<Response, Refused> {
    if app.switches.kick_off.none {
        return Err(Refused::new(StatusCode::NOT_FOUND, "not-supported", "The operation $export is not supported"));
    }
    let lenient = check_headers(&request.headers)?;
    let wish = read_wish(parameters, lenient)?;
    if let Some(group) = &request.group
        && !app.world.knows(group)
    {
        return Err(Refused::not_found(format!("There is no Group {group}")));
    }
    let export = create(app, &request, wish);
    answer(app, &request, &export).await
}

fn create(app: &App, request: &Request, wish: Wish) -> Export {
    let created = door::now();
    let ready = later(created, app.config.export_time);
    let export = Export {
        id: uuid::Uuid::new_v4().to_string(),
        request: format!("{}{}", app.origin(&request.headers), request.uri),
        group: request.group.clone(),
        types: wish.types,
        since: wish.since,
        created,
        ready,
        expires: app.expiry(ready),
    };
    tracing::info!(export = export.id, request = export.request, "kick-off");
    app.change(|state, stats| {
        stats.kick_offs += 1;
        if let Some(group) = &export.group {
            *stats.kick_offs_by_group.entry(group.clone()).or_default() += 1;
        }
        state.exports.insert(export.id.clone(), export.clone());
    });
    export
}

/// 202 with `Content-Location`, and whatever faults want of it.
async fn answer(app: &Arc<App>, request: &Request, export: &Export) -> Result<Response, Refused> {
    let path = format!("/fhir/status/{}", export.id);
    let mut location = Some(format!("{}{path}", app.origin(&request.headers)));
    let faults = app.faults.take_each(Where::KickOff, request.uri.path(), |what| match what {
        What::KickOff(fault) => Some(fault.clone()),
        _ => None,
    });
    for fault in faults {
        tracing::info!(?fault, "fault");
        app.count(|stats| stats.faults += 1);
        match fault {
            KickOff::HoldAfter => app.hold().await,
            KickOff::DropAfter => return Ok(cut(&request.wire)),
            KickOff::RefuseAfter(refusal) => return Ok(refusal.into_response()),
            KickOff::CutLocation => location = None,
            KickOff::RelativeLocation => location = Some(path.clone()),
        }
    }
    let mut response =
        fhir(StatusCode::ACCEPTED, &outcome("information", "informational", "The export has begun: poll the Content-Location"));
    if let Some(location) = location {
        let location = HeaderValue::try_from(location).map_err(|error| Refused::broken(&error.into()))?;
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
    Ok(response)
}

/// Whether unknown parameters are to be ignored (`Prefer: handling=lenient`).
fn check_headers(headers: &HeaderMap) -> Result<bool, Refused> {
    let values = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split([',', ';'])).map(|part| part.trim().to_lowercase()).collect()
    };
    let accept = values("accept");
    let fine = ["application/fhir+json", "application/*", "*/*"];
    if !accept.is_empty() && !accept.iter().any(|kind| fine.contains(&kind.as_str())) {
        let text = "The Accept header must allow application/fhir+json";
        return Err(Refused::bad_request("not-supported", text));
    }
    let prefer = values("prefer");
    if !prefer.iter().any(|wish| wish == "respond-async") {
        let text = "The header Prefer: respond-async is needed";
        return Err(Refused::bad_request("required", text));
    }
    Ok(prefer.iter().any(|wish| wish == "handling=lenient"))
}

fn read_wish(parameters: Parameters, lenient: bool) -> Result<Wish, Refused> {
    let mut wish = Wish::default();
    for (name, value) in parameters {
        match name.as_str() {
            "_type" => {
                let types = wish.types.get_or_insert_default();
                for kind in value.split(',').map(str::trim).filter(|kind| !kind.is_empty()) {
                    read_type(kind, types)?;
                }
            }
            "_since" => {
                let since = DateTime::parse_from_rfc3339(&value)
                    .map_err(|error| Refused::bad_request("value", format!("_since is no instant: \"{value}\" ({error})")))?;
                wish.since = Some(since.to_utc());
            }
            "_outputFormat" => check_format(&value)?,
            _ if lenient => {}
            _ => {
                let text = format!("The parameter {name} is not supported");
                return Err(Refused::bad_request("not-supported", text));
            }
        }
    }
    Ok(wish)
}

fn read_type(kind: &str, into: &mut Vec<String>) -> Result<(), Refused> {
    let plausible = kind.starts_with(|first: char| first.is_ascii_uppercase()) && kind.chars().all(|letter| letter.is_ascii_alphabetic());
    if !plausible {
        let text = format!("_type: \"{kind}\" is no resource type");
        return Err(Refused::bad_request("value", text));
    }
    if into.iter().all(|known| known != kind) {
        into.push(kind.to_owned());
    }
    Ok(())
}

fn check_format(format: &str) -> Result<(), Refused> {
    // A query's unescaped "+" arrives as a space.
    let format = format.replace(' ', "+");
    if ["application/fhir+ndjson", "application/ndjson", "ndjson"].contains(&format.as_str()) {
        return Ok(());
    }
    let text = format!("_outputFormat: only application/fhir+ndjson is supported, not \"{format}\"");
    Err(Refused::bad_request("not-supported", text))
}

/// A `Parameters` resource; each parameter has one `value[x]`.
fn read_body(body: &[u8]) -> Result<Parameters, Refused> {
    let bad = |text: &str| Refused::bad_request("structure", text.to_owned());
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| bad("The body is no JSON"))?;
    if body["resourceType"] != "Parameters" {
        return Err(bad("The body is no Parameters resource"));
    }
    let parameters = body["parameter"].as_array().into_iter().flatten();
    parameters
        .map(|parameter| {
            let name = parameter["name"].as_str().ok_or_else(|| bad("A parameter has no name"))?;
            let fields = parameter.as_object().into_iter().flatten();
            let value = fields
                .filter(|(key, _)| key.starts_with("value"))
                .find_map(|(_, value)| value.as_str().or_else(|| value["reference"].as_str()));
            let value = value.ok_or_else(|| bad("A parameter has no value as text"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}
