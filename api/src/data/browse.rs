//! Looks at resources one by one. Each look is written down before anything is shown: who it was, and at what.
//!
//! What stands in addresses, and so in histories and the logs of proxies: the export, the resource's type and its id, as FHIR's own addresses have
//! them, so that references can be links; and on the data page codes. Never a text that was searched for, nor the patient whose resources are
//! listed: those are sent in a body. Our own log has no paths, only routes.

use bulkhead_shared::{
    db::{
        audit_log::{self, Entry},
        resources::{self, Page, Wanted},
        summaries::{self, Summarised},
    },
    domain::audit::{Act, ObjectKind},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
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

/// What is searched for holds a connection and a core: the API has other work too.
static SEARCHING: Semaphore = Semaphore::const_new(2);

/// A page of a list. The log keeps the type, which were shown, and whose, if one patient's were asked for; not the text that was searched for.
pub async fn list(state: &ApiState, caller: &Caller, export: Uuid, wanted: &Wanted<'_>, limit: i64) -> Result<Page, Problem> {
    let turn = if wanted.text.or(wanted.patient).is_some() { Some(SEARCHING.acquire().await) } else { None };
    let page = resources::page(&state.pool, export, wanted, limit).await?;
    drop(turn);
    let ids: Vec<&str> = page.resources.iter().map(|listed| listed.id.as_str()).collect();
    let mut detail = json!({"export": export, "ids": ids});
    if let Some(patient) = wanted.patient {
        detail["patient"] = patient.into();
    }
    seen(state, caller, wanted.resource_type, detail).await?;
    Ok(page)
}

/// One resource as people read it.
pub async fn one(state: &ApiState, caller: &Caller, export: Uuid, resource_type: &str, id: &str) -> Result<String, Problem> {
    let found = resources::one(&state.pool, export, resource_type, id).await?;
    let one = found.ok_or_else(|| Problem::new(Kind::NotFound, "The export has no such resource; look for it in the list of its type."))?;
    let mut detail = json!({"export": export});
    if let Some(patient) = one.patient_id {
        detail["patient"] = patient.into();
    }
    seen(state, caller, &format!("{resource_type}/{id}"), detail).await?;
    Ok(one.text)
}

/// Writes down that somebody saw resources. If that fails nothing is shown.
async fn seen(state: &ApiState, caller: &Caller, what: &str, detail: Value) -> Result<(), Problem> {
    let entry = Entry::of(Act::ResourceSeen, ObjectKind::Resource, what).with(detail);
    Ok(audit_log::insert(&state.pool, &caller.actor, &entry).await?)
}
