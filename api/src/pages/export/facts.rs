//! What was asked for, of whom, and by whom.

use bulkhead_shared::{
    db::{audit_log, exports::Neighbour},
    domain::source::Auth,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::{Seen, shown_url};
use crate::pages::{frame::Frame, sentence};

/// A parameter of the kick-off.
pub struct Parameter {
    pub name: String,
    pub value: String,
    /// The server does not support it; it was left out.
    pub dropped: bool,
}

pub struct Facts {
    pub id: Uuid,
    pub parameters: Vec<Parameter>,
    pub lenient: bool,
    pub accept_partial: bool,
    pub route: &'static str,
    /// Asked for a type at a time: so many are done of so many.
    pub split: Option<(usize, usize)>,
    pub base_url: String,
    pub auth: Auth,
    pub client_id: String,
    /// Its host only, where the reader may not act on it.
    pub status_url: Option<String>,
    pub transaction_time: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub submitted_by: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub released_at: Option<DateTime<Utc>>,
    pub waits_for: Option<Uuid>,
    pub restarts: i32,
    pub previous: Option<Neighbour>,
    pub following: Option<Neighbour>,
    pub has_manifest: bool,
}

impl Facts {
    pub fn of(frame: &Frame, seen: &Seen, acts: &[audit_log::Row], (previous, following): (Option<Neighbour>, Option<Neighbour>)) -> Self {
        let export = &seen.export;
        let whole = frame.may_operate();
        Self {
            id: export.id,
            parameters: parameters(seen),
            lenient: export.ask.lenient,
            accept_partial: export.accept_partial,
            route: frame.word("export.route", export.route),
            split: export.split_types.as_ref().map(|types| (export.split_at.min(types.len()), types.len())),
            base_url: seen.source.base_url.clone(),
            auth: seen.source.auth,
            client_id: seen.source.client_id.clone(),
            status_url: export.status_url.as_deref().map(|url| if whole { shown_url(url) } else { host(url) }),
            transaction_time: export.transaction_time.clone(),
            expires_at: export.expires_at,
            submitted_by: acts
                .iter()
                .find(|row| row.act == "export_submitted" && matches!(row.actor_kind.as_str(), "user" | "token"))
                .map(|row| sentence::who(frame, row)),
            created_at: export.created_at,
            started_at: export.started_at,
            finished_at: export.finished_at,
            accepted_at: export.accepted_at,
            released_at: export.released_at,
            waits_for: export.waits_for,
            restarts: export.restarts,
            previous,
            following,
            has_manifest: whole && export.manifest_pages > 0,
        }
    }
}

fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// As they are named on the wire.
fn parameters(seen: &Seen) -> Vec<Parameter> {
    let (ask, export) = (&seen.export.ask, &seen.export);
    let of = |name: &str, value: String| Parameter { name: name.to_owned(), value, dropped: export.was_dropped(name) };
    let mut all = Vec::new();
    if !ask.resource_types.is_empty() {
        all.push(of("_type", ask.resource_types.join(", ")));
    }
    all.extend(ask.since.clone().map(|since| of("_since", since)));
    for (name, value) in &ask.parameters {
        all.push(of(name, written(value)));
    }
    all
}

fn written(value: &Value) -> String {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(values) => values.iter().map(one).collect::<Vec<_>>().join(", "),
        value => one(value),
    }
}
