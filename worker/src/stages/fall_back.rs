//! fall_back: where no bulk export is to be had, an export goes on by FHIR search, by itself and for everybody to see.

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    domain::{
        export::{Export, Level, Route},
        finding::{Finding, FindingKind, Severity},
        stage::StageKind,
    },
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Written},
};

use super::members;
use crate::{fhir::answer::Refusal, work::Work};

/// What the finding says after the reason.
const GOES_ON: &str = " It is read by FHIR search instead; what was deleted at the server does not show that way.";

/// In the guide's words.
pub const TOO_MANY_FILES: &str = "Bulk export reported error: Too many files.";

/// The export goes on by search. `why`: one sentence, for people.
pub fn to_search(why: impl Into<String>) -> Outcome {
    Outcome::Done(Box::new(ToSearch { why: why.into() }))
}

/// It does already: an attempt before this one decided so.
pub fn is_decided(work: &Work) -> bool {
    work.export.route == Route::Search
}

/// The way on, if the server has no $export for this (or cannot make this one) and what was to be exported can be read.
pub async fn instead(work: &Work, refusal: &Refusal) -> Result<Option<Outcome>, StageError> {
    // One type of several is no matter of the whole export.
    if work.export.split_types.is_some() || !has_no_export(&work.export, refusal) {
        return Ok(None);
    }
    let url = match (work.export.ask.level, &work.export.ask.group_id) {
        (Level::Group, Some(id)) => members::url(work, &["Group", id])?,
        (Level::Unknown, _) => return Ok(None),
        _ => members::url(work, &["metadata"])?,
    };
    let can_be_read = members::ask(work, url).await?.is_ok();
    let why = format!("The server has no $export for {}: {}.", work.export.ask.title(), refusal.words());
    Ok(can_be_read.then(|| to_search(why)))
}

/// Not: it has one, and does not like how it was asked.
fn has_no_export(export: &Export, refusal: &Refusal) -> bool {
    match refusal.status {
        404 | 405 | 501 => true,
        400 | 422 => refusal.outcome.as_ref().is_some_and(|outcome| {
            let text = outcome.text();
            let others = export.ask.parameters.keys().map(String::as_str);
            let names_a_parameter = ["_type", "_since", "_outputFormat"].into_iter().chain(others).any(|name| text.contains(name));
            outcome.issue.iter().any(|issue| issue.code == "not-supported") && !names_a_parameter
        }),
        _ => false,
    }
}

/// Why an export was to go on by search, as its finding says.
pub async fn why(work: &Work) -> Result<String, StageError> {
    let findings = work.early_findings().await?;
    let finding = findings.iter().find(|finding| finding.kind == FindingKind::SearchedInstead);
    let why = finding.and_then(|finding| finding.message.split_once(GOES_ON)).map(|(why, _)| why.to_owned());
    Ok(why.unwrap_or_else(|| "There is no bulk export to be had.".to_owned()))
}

/// The route changes, and the members are next.
pub struct ToSearch {
    pub why: String,
}

#[async_trait]
impl Tail for ToSearch {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        if exports::set_searched(tx.db(), id).await? {
            let message = format!("{}{GOES_ON}", self.why);
            tx.tell(EventLevel::Warning, &message).await?;
            let finding =
                Finding { severity: Severity::Warning, kind: FindingKind::SearchedInstead, resource_type: None, file: None, message };
            exports::add_finding(tx.db(), id, &finding).await?;
        }
        // A second run of the stage that decided, after the members were read: nothing is left to do.
        if exports::get(tx.db(), id).await?.is_some_and(|export| !export.manifest_complete) {
            tx.enqueue(&[NewStage::new(StageKind::Members)]).await?;
        }
        Ok(Written::Done)
    }
}
