//! `GET /exports`: the exports, newest first, with filters in the address.

mod bulk;
mod query;
mod row;
mod view;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, RawQuery, State},
    response::{IntoResponse as _, Redirect},
};
use bulkhead_shared::db::{
    exports::{self, Overview, Shown, Turn},
    sources,
};

pub use bulk::{act, confirm};
use query::{Asked, Field};
use row::Row;

use super::{
    frame::Frame,
    notice::Notice,
    page::{Answer, page},
};
use crate::ApiState;

const ROWS: i64 = 50;
/// Servers that are offered in the form.
const SERVERS: i64 = 200;

pub const FIRST: Turn = Turn::Newest;
/// The guide's command, with what has to be filled in.
pub const CURL: &str = r#"curl -X POST http://localhost:8001/api/bulk-data/kick-off \
  -H "Content-Type: application/json" \
  -d '{"fhir_server_url": "https://bulk-data.smarthealthit.org/.../fhir/Group/BMCHealthNet"}'"#;
/// The keys, as the help lists them, and the key of what each does.
pub const KEYS: [(&[&str], &str); 6] =
    [(&["/"], "search"), (&["j", "k"], "move"), (&["x"], "select"), (&["Enter"], "open"), (&["?"], "help"), (&["Esc"], "close")];
pub const EXAMPLE: &str = "/exports?state=failed&reason=unreachable&ended=7d&source=http://127.0.0.1:9/fhir&not=source";
/// The names in the address, as the help lists them, and the key of what each means.
pub const NAMES: [(&str, &str); 9] = [
    ("q", "q"),
    ("state", "state"),
    ("source, group", "source"),
    ("type", "type"),
    ("reason", "reason"),
    ("from, to", "submitted"),
    ("ended", "ended"),
    ("id", "id"),
    ("not", "not"),
];

#[derive(Template)]
#[template(path = "exports.html")]
struct Exports {
    frame: Frame,
    notice: Notice,
    feed: &'static str,
    asked: Asked,
    servers: Vec<String>,
    overview: Overview,
    /// `None`: it took too long.
    shown: Option<Shown>,
}

pub async fn list(State(state): State<Arc<ApiState>>, frame: Frame, Query(notice): Query<Notice>, RawQuery(query): RawQuery) -> Answer {
    let asked = Asked::parse(query.as_deref().unwrap_or_default())?;
    if asked.is_wordy {
        return Ok(Redirect::to(&asked.url()).into_response());
    }
    let shown = shown(&state, &frame, &asked).await?;
    if shown.as_ref().is_some_and(|shown| shown.entries.is_empty()) && asked.turn != Turn::Newest {
        return Ok(Redirect::to(&asked.at(Turn::Newest).url()).into_response());
    }
    let servers = sources::base_urls(&state.pool, SERVERS).await?;
    let overview = exports::overview(&state.pool).await?;
    page(&Exports { frame, notice, feed: "/events", asked, servers, overview, shown })
}

async fn shown(state: &ApiState, frame: &Frame, asked: &Asked) -> sqlx::Result<Option<Shown>> {
    let filter = asked.filter(&state.pool, frame.now).await?;
    let shown = match exports::browse(&state.pool, &filter, asked.turn, ROWS).await {
        // The newest are there: the first page is full, however few are above.
        Ok(shown) if matches!(asked.turn, Turn::Newer(_)) && !shown.newer => {
            exports::browse(&state.pool, &filter, Turn::Newest, ROWS).await
        }
        other => other,
    };
    match shown {
        Ok(shown) => Ok(Some(shown)),
        Err(error) if bulkhead_shared::db::took_too_long(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
