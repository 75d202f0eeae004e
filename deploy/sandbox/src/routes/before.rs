//! Counts what arrives, and the faults that strike before an endpoint does its work.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use crate::app::App;
use crate::auth::bearer;
use crate::faults::{Before, What, Where};
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
    let fault = app.faults.take(place, request.uri().path(), |what| match what {
        What::Before(before) => Some(before.clone()),
        _ => None,
    });
    let Some(fault) = fault else { return next.run(request).await };
    tracing::info!(?fault, path = request.uri().path(), "fault");
    app.count(|stats| stats.faults += 1);
    match fault {
        Before::Refuse(refusal) => refusal.into_response(),
        Before::Html(status) => gateway(status),
        Before::Delay(time) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        Before::Hold => {
            app.hold().await;
            next.run(request).await
        }
        Before::Drop => cut(&wire),
        Before::Unauthorized => {
            bearer::revoke(&app, request.headers());
            app.count(|stats| stats.unauthorized += 1);
            Refused::unauthorized().into_response()
        }
    }
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
    } else if path.ends_with("/$export") {
        Some(Where::KickOff)
    } else if path.starts_with("/fhir/files/") {
        Some(Where::File)
    } else if path.starts_with("/fhir/status/") {
        Some(if method == Method::DELETE { Where::Delete } else { Where::Status })
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
