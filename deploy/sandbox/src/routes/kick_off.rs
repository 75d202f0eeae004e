//! `$export` at system, Patient and Group level (Bulk Data Access IG, "Bulk Data Kick-off Request").

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::before::cut;
use crate::app::{App, later};
use crate::auth::bearer;
use crate::auth::scope::{self, Need};
use crate::door;
use crate::faults::{KickOff, Refusal, What, Where};
use crate::outcome::{Refused, fhir, outcome};
use crate::search::Parameters;
use crate::state::Export;
use crate::switches::TooManyAt;
use crate::wire::Wire;
use crate::wish::{self, Call, Wish};

/// The request, whichever method and level it came by.
pub struct Request {
    wire: Wire,
    group: Option<String>,
    uri: Uri,
    headers: HeaderMap,
}

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
    kick_off(&app, request, false, parameters).await
}

pub async fn by_post(State(app): State<Arc<App>>, request: Request, body: Bytes) -> Result<Response, Refused> {
    let mut parameters = read_body(&body)?;
    // Some servers take the query of a POST too.
    parameters.extend(url::form_urlencoded::parse(request.uri.query().unwrap_or_default().as_bytes()).into_owned());
    kick_off(&app, request, true, parameters).await
}

async fn kick_off(app: &Arc<App>, request: Request, post: bool, parameters: Parameters) -> Result<Response, Refused> {
    if app.switches.kick_off.none {
        return Err(Refused::new(StatusCode::NOT_FOUND, "not-supported", "The operation $export is not supported"));
    }
    let lenient = check_headers(&request.headers)?;
    let call = Call { post, system: request.uri.path() == "/fhir/$export" };
    wish::check_dialect(&parameters, call, &app.switches.kick_off)?;
    let mut wish = wish::read(parameters, call, lenient, &app.switches.kick_off)?;
    demand_scopes(app, &request.headers, &mut wish)?;
    if let Some(group) = &request.group
        && !app.world.knows(group)
    {
        return Err(Refused::not_found(format!("There is no Group {group}")));
    }
    let export = plan(app, &request, wish);
    if app.switches.kick_off.too_many_at == TooManyAt::KickOff {
        refuse_too_many_files(app, &export).await?;
    }
    create(app, &request, &export)?;
    answer(app, &request, &export).await
}

/// 403 for a type the token does not cover; an export of every type has those it covers.
fn demand_scopes(app: &App, headers: &HeaderMap, wish: &mut Wish) -> Result<(), Refused> {
    let demand = |kind: &str| scope::demand(app, headers, kind, &Need::EXPORT);
    if let Some(types) = &wish.types {
        return types.iter().try_for_each(|kind| demand(kind));
    }
    let kinds: Vec<String> = app.world.kinds().into_keys().collect();
    let covered: Vec<String> = kinds.iter().filter(|kind| demand(kind).is_ok()).cloned().collect();
    if covered.is_empty() {
        return demand("any type");
    }
    if covered.len() < kinds.len() {
        wish.types = Some(covered);
    }
    Ok(())
}

/// As a server that makes no more files than a manifest may name; fewer types make fewer files.
pub async fn refuse_too_many_files(app: &Arc<App>, export: &Export) -> Result<(), Refused> {
    let Some(most) = app.switches.kick_off.most_files else { return Ok(()) };
    if app.output(export).await.len() <= most {
        return Ok(());
    }
    Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too-costly", "Too many files"))
}

fn plan(app: &App, request: &Request, wish: Wish) -> Export {
    let created = door::now();
    let ready = later(created, app.config.export_time);
    Export {
        id: uuid::Uuid::new_v4().to_string(),
        request: format!("{}{}", app.origin(&request.headers), request.uri),
        group: request.group.clone(),
        wish,
        created,
        ready,
        expires: app.expiry(ready),
    }
}

/// The export exists from here on.
fn create(app: &App, request: &Request, export: &Export) -> Result<(), Refused> {
    let client = bearer::client(app, &request.headers);
    let name = format!("{client} {}", export.group.as_deref().unwrap_or_default());
    app.change(|state, stats| {
        if let Some(time) = app.switches.kick_off.cool_down
            && state.exported.get(&name).is_some_and(|last| later(*last, time) > export.created)
        {
            let status = app.switches.kick_off.cool_down_status.unwrap_or(400);
            let refusal = Refusal::too_recently(status);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            return Err(Refused::new(status, "business-rule", refusal.text.unwrap_or_default()));
        }
        tracing::info!(export = export.id, request = export.request, "kick-off");
        stats.kick_offs += 1;
        if let Some(group) = &export.group {
            *stats.kick_offs_by_group.entry(group.clone()).or_default() += 1;
        }
        state.exported.insert(name, export.created);
        state.exports.insert(export.id.clone(), export.clone());
        Ok(())
    })
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
            let value = fields.filter(|(key, _)| key.starts_with("value")).find_map(|(_, value)| match value {
                Value::Bool(truth) => Some(truth.to_string()),
                _ => value.as_str().or_else(|| value["reference"].as_str()).map(str::to_owned),
            });
            let value = value.ok_or_else(|| bad("A parameter has no value as text"))?;
            Ok((name.to_owned(), value))
        })
        .collect()
}
