//! `/sources` and `/sources/{id}`: the servers that are known, how they fare, and what a person may set. Secrets are nowhere.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use bulkhead_shared::{
    db::{
        audit_log::{self, Entry},
        cool_downs::{self, CoolDown},
        exports::{self, Check},
        signing_keys,
        sources::{self, Exported, Overview},
    },
    domain::{
        audit::{Act, ObjectKind},
        check::Report,
        export::{Ask, Level},
        source::{Dialect, KickOffPolicy},
    },
};
use serde_json::json;
use uuid::Uuid;

use super::{
    fields::Fields,
    frame::Frame,
    new::kept_source,
    notice::Notice,
    page::{Answer, page},
};
use crate::{
    ApiState,
    access::Caller,
    problem::{Kind, Problem},
    submit,
};

const MOST: i64 = 200;
const EXPORTS: i64 = 20;

#[derive(Template)]
#[template(path = "sources.html")]
struct List {
    frame: Frame,
    sources: Vec<Overview>,
    more: bool,
    keys: Vec<signing_keys::Listed>,
}

/// The one that was used last first.
pub async fn list(State(state): State<Arc<ApiState>>, frame: Frame) -> Answer {
    let mut sources = sources::overview(&state.pool, None, MOST + 1).await?;
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let more = sources.len() > most;
    sources.truncate(most);
    let keys = signing_keys::list(&state.pool).await?;
    page(&List { frame, sources, more, keys })
}

#[derive(Template)]
#[template(path = "source.html")]
struct One {
    frame: Frame,
    notice: Notice,
    source: Overview,
    exports: Vec<Exported>,
    cool_downs: Vec<(String, CoolDown)>,
    check: Option<Check>,
    report: Report,
}

impl One {
    fn is_checking(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.finished_at.is_none())
    }
}

fn gone() -> Problem {
    Problem::new(Kind::NotFound, "There is no such source; the page Sources lists those there are.")
}

pub async fn one(State(state): State<Arc<ApiState>>, frame: Frame, Path(id): Path<String>, Query(notice): Query<Notice>) -> Answer {
    let id: Uuid = id.parse().map_err(|_| gone())?;
    let source = sources::overview(&state.pool, Some(id), 1).await?.pop().ok_or_else(gone)?;
    let exports = sources::exports(&state.pool, id, EXPORTS).await?;
    let cool_downs = cool_downs::of_source(&state.pool, id).await?;
    let check = match sources::last_check(&state.pool, id).await? {
        Some(check) => exports::get_check(&state.pool, check).await?,
        None => None,
    };
    let report = check.as_ref().and_then(|check| check.report.clone()).unwrap_or_default();
    page(&One { frame, notice, source, exports, cool_downs, check, report })
}

/// Sends a worker to look, with the credentials that are kept.
pub async fn check(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<Uuid>) -> Answer {
    let ask = Ask {
        level: Level::Unknown,
        group_id: None,
        resource_types: Vec::new(),
        since: None,
        parameters: serde_json::Map::new(),
        lenient: false,
    };
    submit::check(&state, &caller.actor, &kept_source(&state, id, ask).await?).await?;
    Ok(Notice::good("source_checking").to(&format!("/sources/{id}")))
}

/// What a person may set.
pub async fn set(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<Uuid>, fields: Fields) -> Answer {
    let dialect: Option<Dialect> = fields.text("dialect").parse().ok();
    let policy: KickOffPolicy = fields.text("policy").parse().unwrap_or(KickOffPolicy::Resend);
    let path = format!("/sources/{id}");
    let Some(parallel) = fields.text("parallel").parse().ok().filter(|n| (1..=100).contains(n)) else {
        return Ok(Notice::bad("source_wrong").to(&path));
    };
    let mut tx = state.pool.begin().await?;
    if !sources::set(&mut *tx, id, dialect.map(Dialect::as_str), policy.as_str(), parallel).await? {
        return Err(gone());
    }
    let detail = json!({ "dialect": dialect.map(Dialect::as_str), "kick_off_policy": policy.as_str(), "max_parallel": parallel });
    let object = id.to_string();
    audit_log::insert(&mut *tx, &caller.actor, &Entry::of(Act::SourceChanged, ObjectKind::Source, &object).with(detail)).await?;
    tx.commit().await?;
    Ok(Notice::good("source_saved").to(&path))
}
