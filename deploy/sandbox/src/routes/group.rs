//! The Groups that can be exported (R4, Group).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::app::App;
use crate::auth::scope::{self, Need};
use crate::outcome::{Refused, fhir};
use crate::search::Query;
use crate::world::{COHORTS, Cohort, Group, Member, cohort};

/// One Group with its members.
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Refused> {
    scope::demand(&app, &headers, "Group", &[Need::Read])?;
    let base = format!("{}/fhir", app.origin(&headers));
    let body = whole(&app, &id, &base).ok_or_else(|| Refused::not_found(format!("There is no Group {id}")))?;
    app.count(|stats| stats.reads += 1);
    Ok(fhir(StatusCode::OK, &body))
}

/// The Groups a search finds: without their members, unless asked for by id.
pub fn lines(app: &App, query: &Query, base: &str) -> Vec<Bytes> {
    let found: Vec<Value> = if let Some(ids) = &query.ids {
        ids.iter().filter_map(|id| whole(app, id, base)).collect()
    } else {
        let listed = COHORTS.iter().filter(|_| app.switches.search.odd_groups);
        app.world.groups().iter().map(plain).chain(listed.map(odd)).collect()
    };
    found.into_iter().map(|group| group.to_string().into()).collect()
}

fn whole(app: &App, id: &str, base: &str) -> Option<Value> {
    let (mut body, members) = match (app.world.group(id), cohort(id)) {
        (Some(group), _) => (plain(group), ids(group).map(|id| format!("Patient/{id}")).collect()),
        (None, Some(cohort)) => (odd(cohort), references(app, cohort, base)),
        (None, None) => return None,
    };
    if app.switches.search.hidden_members {
        return Some(body);
    }
    let members: Vec<_> = members.into_iter().map(|reference| json!({"entity": {"reference": reference}})).collect();
    body["member"] = json!(members);
    Some(body)
}

/// The first question makes the patients, which takes a moment.
fn ids(group: &Group) -> std::vec::IntoIter<String> {
    block_in_place(|| group.members()).into_iter()
}

fn references(app: &App, cohort: &Cohort, base: &str) -> Vec<String> {
    let of = |member: &Member| -> Vec<String> {
        match *member {
            Member::Group(id, form) => vec![form.reference(base, "Group", id)],
            Member::Patients(group, form) => {
                let group = app.world.group(group).into_iter();
                group.flat_map(ids).map(|id| form.reference(base, "Patient", &id)).collect()
            }
        }
    };
    cohort.members.iter().flat_map(of).collect()
}

fn plain(group: &Group) -> Value {
    json!({
        "resourceType": "Group",
        "id": group.id,
        "active": true,
        "type": "person",
        "actual": true,
        "name": group.name,
        "quantity": group.quantity(),
    })
}

fn odd(cohort: &Cohort) -> Value {
    json!({"resourceType": "Group", "id": cohort.id, "active": true, "type": "person", "actual": true, "name": cohort.name})
}
