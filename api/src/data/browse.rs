//! Looks at resources one by one. Each look is written down before anything is shown: who it was, and at what.

use bulkhead_shared::{
    db::{
        audit_log::{self, Entry},
        resources::{self, Page, Wanted},
        summaries::{self, Summarised},
    },
    domain::audit::{Act, ObjectKind},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    ApiState,
    access::Caller,
    problem::{Kind, Problem},
};

/// The export whose resources are looked at.
pub async fn export(state: &ApiState, id: Uuid) -> Result<Summarised, Problem> {
    let found = summaries::of(&state.pool, &[id]).await?;
    found.into_iter().next().ok_or_else(|| crate::routes::no_such_job(id))
}

/// A page of a list. The log keeps the type and how many were shown; not whose, and not what was searched for.
pub async fn list(state: &ApiState, caller: &Caller, export: Uuid, wanted: &Wanted<'_>, limit: i64) -> Result<Page, Problem> {
    let page = resources::page(&state.pool, export, wanted, limit).await?;
    seen(state, caller, export, wanted.resource_type, Some(page.resources.len())).await?;
    Ok(page)
}

/// One resource as people read it.
pub async fn one(state: &ApiState, caller: &Caller, export: Uuid, resource_type: &str, id: &str) -> Result<String, Problem> {
    let found = resources::pretty(&state.pool, export, resource_type, id).await?;
    let text =
        found.ok_or_else(|| Problem::new(Kind::NotFound, "The export has no such resource; look for it in the list of its type."))?;
    seen(state, caller, export, &format!("{resource_type}/{id}"), None).await?;
    Ok(text)
}

/// Writes down that somebody saw resources. If that fails nothing is shown.
async fn seen(state: &ApiState, caller: &Caller, export: Uuid, what: &str, listed: Option<usize>) -> Result<(), Problem> {
    let detail = listed.map_or_else(|| json!({"export": export}), |n| json!({"export": export, "listed": n}));
    let entry = Entry::of(Act::ResourceSeen, ObjectKind::Resource, what).with(detail);
    Ok(audit_log::insert(&state.pool, &caller.actor, &entry).await?)
}
