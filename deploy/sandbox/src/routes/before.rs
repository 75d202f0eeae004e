//! Counts what arrives, and the faults that strike before an endpoint does its work or change its answer after.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;

use crate::app::App;
use crate::auth::bearer;
use crate::faults::{After, Before, What, Where};
use crate::outcome::Refused;
use crate::wire::Wire;

pub async fn strike(State(app): State<Arc<App>>, ConnectInfo(wire): ConnectInfo<Wire>, request: Request, next: Next) -> Response {
    let Some(place) = place(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    app.count(|stats| match place {
        Where::KickOff => stats.kick_off_requests += 1,
        Where::Status => stats.status_polls += 1,
        _ => {}
    });
    let path = request.uri().path().to_owned();
    let fault = app.faults.take(place, &path, |what| match what {
        What::Before(before) => Some(before.clone()),
        _ => None,
    });
    if let Some(fault) = fault {
        tracing::info!(?fault, path, "fault");
        app.count(|stats| stats.faults += 1);
        let (uri, headers) = (request.uri().clone(), request.headers().clone());
        if let Some(answer) = instead(&app, &wire, fault, &uri, &headers).await {
            return answer;
        }
    }
    let mut answer = next.run(request).await;
    let changes = app.faults.take_each(place, &path, |what| match what {
        What::After(After::Success(_)) if !answer.status().is_success() => None,
        What::After(after) => Some(after.clone()),
        _ => None,
    });
    app.count(|stats| stats.faults += changes.len() as u64);
    for change in changes {
        tracing::info!(?change, path, "fault");
        alter(&mut answer, change);
    }
    answer
}

/// The answer of a fault; `None` when the endpoint is to do its work after all.
async fn instead(app: &Arc<App>, wire: &Wire, fault: Before, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    Some(match fault {
        Before::Refuse(refusal) => refusal.into_response(),
        Before::Html(status) => gateway(status),
        Before::Bare(status) => StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST).into_response(),
        Before::Delay(time) => {
            tokio::time::sleep(time).await;
            return None;
        }
        Before::Hold => {
            app.hold().await;
            return None;
        }
        Before::Drop => cut(wire),
        Before::Redirect(to) => {
            let to = to.unwrap_or_else(|| another_hop(uri));
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Before::EndlessBody => {
            let blank = Bytes::from(vec![b'\n'; 64 << 10]);
            let body = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(blank.clone()));
            ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
        }
        Before::Unauthorized => {
            bearer::revoke(app, headers);
            app.count(|stats| stats.unauthorized += 1);
            Refused::unauthorized().into_response()
        }
    })
}

fn alter(answer: &mut Response, change: After) {
    match change {
        After::Header(name, value) => {
            answer.headers_mut().insert(name, value);
        }
        After::WithoutHeader(name) => {
            answer.headers_mut().remove(name);
        }
        After::HugeHeaders(bytes) => {
            let value = HeaderValue::try_from("x".repeat(bytes)).expect("ASCII");
            answer.headers_mut().insert(HeaderName::from_static("x-huge"), value);
        }
        After::Success(status) => *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
    }
}

/// The same place by another URL, so that a client that only compares URLs goes round for ever.
fn another_hop(uri: &Uri) -> String {
    let kept = |pair: &&str| !pair.is_empty() && !pair.starts_with("_hop=");
    let query: Vec<&str> = uri.query().unwrap_or_default().split('&').collect();
    let hop = query.iter().find_map(|pair| pair.strip_prefix("_hop=")?.parse::<u64>().ok()).unwrap_or(0) + 1;
    let mut pairs: Vec<String> = query.iter().filter(|pair| kept(pair)).map(|pair| (*pair).to_owned()).collect();
    pairs.push(format!("_hop={hop}"));
    format!("{}?{}", uri.path(), pairs.join("&"))
}

/// An answer that never leaves.
pub fn cut(wire: &Wire) -> Response {
    wire.cut();
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

/// `None` for the test controls, which never fail.
fn place(method: &Method, path: &str) -> Option<Where> {
    if path.starts_with("/sandbox/") {
        None
    } else if path == "/auth/token" {
        Some(Where::Token)
    } else if path == "/fhir/metadata" {
        Some(Where::Metadata)
    } else if path.starts_with("/fhir/.well-known/") {
        Some(Where::Discovery)
    } else if path.ends_with("/$export") {
        Some(Where::KickOff)
    } else if path.starts_with("/fhir/files/") || path.starts_with("/signed/") {
        Some(Where::File)
    } else if path.starts_with("/fhir/status/") {
        Some(if method == Method::DELETE { Where::Delete } else { Where::Status })
    } else if path.starts_with("/fhir/") {
        Some(Where::Search)
    } else {
        Some(Where::Any)
    }
}

fn gateway(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let page = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n<hr><center>gateway</center>\r\n</body>\r\n</html>\r\n"
    );
    (status, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_has_a_url_of_its_own_and_keeps_the_query() {
        assert_eq!(another_hop(&"/fhir/status/1".parse().unwrap()), "/fhir/status/1?_hop=1");
        assert_eq!(another_hop(&"/fhir/status/1?page=2&_hop=7".parse().unwrap()), "/fhir/status/1?page=2&_hop=8");
    }
}
