//! So many requests in such a time (`most-requests`), as servers behind a gateway have it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};

use crate::app::{App, later};
use crate::door;
use crate::outcome::Refused;

/// A window of time and the requests in it.
#[derive(Debug, Default)]
pub struct Window {
    ends: DateTime<Utc>,
    requests: u64,
}

pub async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some((most, time)) = app.switches.access.most_requests else { return next.run(request).await };
    if request.uri().path().starts_with("/sandbox/") {
        return next.run(request).await;
    }
    let now = door::now();
    let left = {
        let mut window = app.window();
        if window.ends <= now {
            *window = Window { ends: later(now, time), requests: 0 };
        }
        window.requests += 1;
        (window.requests > most).then(|| window.ends - now)
    };
    let Some(left) = left else { return next.run(request).await };
    app.count(|stats| stats.limited += 1);
    let seconds = u64::try_from(left.num_milliseconds()).unwrap_or(0).div_ceil(1_000);
    Refused::new(StatusCode::TOO_MANY_REQUESTS, "throttled", "Too many requests: come back later").retry_after(seconds).into_response()
}
