//! The Groups that can be exported (R4, Group).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::app::App;
use crate::outcome::{Refused, fhir};
use crate::world::Group;

pub async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let base = format!("{}/fhir", app.origin(&headers));
    let groups = app.world.groups();
    let entries: Vec<_> = groups
        .iter()
        .map(|group| {
            let url = format!("{base}/Group/{}", group.id);
            json!({"fullUrl": url, "resource": resource(group), "search": {"mode": "match"}})
        })
        .collect();
    let bundle = json!({
        "resourceType": "Bundle",
        "type": "searchset",
        "total": groups.len(),
        "link": [{"relation": "self", "url": format!("{base}/Group")}],
        "entry": entries,
    });
    fhir(StatusCode::OK, &bundle)
}

/// One Group with its members.
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Refused> {
    let group = app.world.group(&id).ok_or_else(|| Refused::not_found(format!("There is no Group {id}")))?;
    let mut body = resource(group);
    // The first question makes the patients, which takes a moment.
    let members: Vec<_> =
        block_in_place(|| group.members()).iter().map(|id| json!({"entity": {"reference": format!("Patient/{id}")}})).collect();
    body["member"] = json!(members);
    Ok(fhir(StatusCode::OK, &body))
}

fn resource(group: &Group) -> Value {
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
