//! The second step: what to export. The server's Groups come from a worker; until they are there the page says how far it is.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use bulkhead_shared::{
    db::{
        exports::{self, Check},
        workers,
    },
    domain::check::{GroupListed, Report, Step, StepName, StepResult},
};
use uuid::Uuid;

use super::{choice::Choice, send};
use crate::{
    ApiState,
    pages::{
        fields::Fields,
        frame::Frame,
        page::{Answer, page},
    },
    problem::{Kind, Problem},
};

/// What most are asked for, where a server does not say what it has.
const COMMON: [&str; 12] = [
    "Patient",
    "Encounter",
    "Condition",
    "Observation",
    "MedicationRequest",
    "Procedure",
    "DiagnosticReport",
    "AllergyIntolerance",
    "Immunization",
    "DocumentReference",
    "CarePlan",
    "Claim",
];

#[derive(Template)]
#[template(path = "new_pick.html")]
struct Pick {
    frame: Frame,
    id: Uuid,
    check: Check,
    report: Report,
    choice: Choice,
    /// Nobody would look.
    no_worker: bool,
    wrong: Option<(&'static str, String)>,
}

impl Pick {
    fn is_over(&self) -> bool {
        self.check.finished_at.is_some()
    }

    /// Whether there is anything to choose: somebody who gets no token exports nothing.
    fn may_go_on(&self) -> bool {
        let broken = |step: &Step| matches!(step.step, StepName::Discovery | StepName::Token) && step.result == StepResult::Failed;
        let gone = |name| self.report.steps.iter().any(|step| step.step == name && step.result != StepResult::Ok);
        let failed = |step: &Step| step.step == StepName::Capabilities && step.result == StepResult::Failed;
        self.check.report.is_some()
            && !self.report.steps.iter().any(broken)
            && !(self.report.steps.iter().any(failed) && gone(StepName::Groups))
    }

    fn troubles(&self) -> impl Iterator<Item = &Step> {
        self.report.steps.iter().filter(|step| matches!(step.result, StepResult::Failed | StepResult::Warning))
    }

    fn is_chosen(&self, group: &GroupListed) -> bool {
        self.choice.groups.contains(&group.id)
    }

    /// Those that were chosen and are not in the list.
    fn by_hand(&self) -> String {
        let others = self.choice.groups.iter().filter(|id| self.report.groups.iter().all(|group| group.id != **id));
        others.cloned().collect::<Vec<_>>().join("\n")
    }

    /// Common types that the server has, or may have.
    fn common_types(&self) -> Vec<&str> {
        let has = |name: &&str| self.report.types.is_empty() || self.report.types.iter().any(|known| known == name);
        COMMON.into_iter().filter(has).collect()
    }

    fn other_types(&self) -> Vec<&str> {
        self.report.types.iter().map(String::as_str).filter(|name| !COMMON.contains(name)).collect()
    }

    fn has_type(&self, name: &str) -> bool {
        self.choice.types.iter().any(|chosen| chosen == name)
    }

    fn other_types_chosen(&self) -> bool {
        self.other_types().iter().any(|name| self.has_type(name))
    }

    /// Types that were chosen and have no box.
    fn types_by_hand(&self) -> String {
        let common = self.common_types();
        let others = self.choice.types.iter().filter(|name| !common.contains(&name.as_str()) && !self.report.types.contains(name));
        others.cloned().collect::<Vec<_>>().join(", ")
    }

    fn is_level(&self, word: &str) -> bool {
        self.choice.level.as_str() == word
    }

    fn is_since(&self, word: &str) -> bool {
        self.choice.since.word() == word
    }

    fn wrong_at(&self, field: &str) -> Option<&str> {
        self.wrong.as_ref().filter(|(at, _)| *at == field).map(|(_, detail)| detail.as_str())
    }
}

pub async fn get(state: &ApiState, id: &str) -> Result<(Uuid, Check), Problem> {
    let gone = || Problem::new(Kind::NotFound, "This form is not there any more; it may be older than a week. Begin a new export.");
    let id: Uuid = id.parse().map_err(|_| gone())?;
    Ok((id, exports::get_check(&state.pool, id).await?.ok_or_else(gone)?))
}

/// What can be chosen.
pub async fn pick(State(state): State<Arc<ApiState>>, frame: Frame, Path(id): Path<String>) -> Answer {
    let (id, check) = get(&state, &id).await?;
    let choice = Choice::before(&check);
    show(&state, frame, id, check, choice, None).await
}

/// What was chosen: on to the summary, or back with what is wrong.
pub async fn choose(State(state): State<Arc<ApiState>>, frame: Frame, Path(id): Path<String>, fields: Fields) -> Answer {
    let (id, check) = get(&state, &id).await?;
    let choice = Choice::read(&fields);
    if fields.has("change") {
        return show(&state, frame, id, check, choice, None).await;
    }
    match choice.plan(&state, &check).await {
        Ok(planned) => send::summary(frame, id, &check, choice, &planned),
        Err(problem) if problem.kind == Kind::InvalidRequest => {
            let detail = problem.detail;
            let field = match () {
                () if detail.starts_with("group") || detail.contains("/Group") => "group",
                () if detail.contains("resource_types") => "types",
                () if detail.contains("since") => "since",
                () => "filters",
            };
            let shown = show(&state, frame, id, check, choice, Some((field, detail))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, shown).into_response())
        }
        Err(problem) => Err(problem),
    }
}

async fn show(state: &ApiState, frame: Frame, id: Uuid, check: Check, choice: Choice, wrong: Option<(&'static str, String)>) -> Answer {
    let no_worker = check.finished_at.is_none() && workers::alive(&state.pool).await? == 0;
    let report = check.report.clone().unwrap_or_default();
    page(&Pick { frame, id, check, report, choice, no_worker, wrong })
}
