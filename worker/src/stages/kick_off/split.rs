//! Too many files for one export: the server is asked for each resource type by itself, one after the other. All become one export of ours.

use std::fmt::Write as _;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    domain::{
        export::{Export, Level},
        failure::Reason,
        finding::{Finding, FindingKind, Severity},
        resource,
        stage::StageKind,
    },
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Trouble, Written},
};

use super::super::fall_back;
use crate::{
    fhir::{answer::Refusal, capabilities, dialect::names, outcome::OperationOutcome},
    work::Work,
};

/// Once more, a type at a time; then by search; or in the guide's words, what a person can do.
pub async fn too_many_files(work: &Work) -> Result<Outcome, StageError> {
    let (types, not_asked) = types(work).await?;
    if work.export.split_types.is_some() || types.len() < 2 {
        if work.export.ask.level != Level::Unknown {
            return Ok(fall_back::to_search(fall_back::TOO_MANY_FILES));
        }
        return Err(StageError::Fail(Trouble::new(
            Reason::TooManyFiles,
            fall_back::TOO_MANY_FILES,
            "ask for fewer resource types, or use since to limit the range of data, and submit again",
        )));
    }
    Ok(Outcome::Done(Box::new(Split { types, not_asked })))
}

/// Those asked for, or all that the server says it has; and those of them that no server exports.
async fn types(work: &Work) -> Result<(Vec<String>, Vec<String>), StageError> {
    let export = &work.export;
    if export.ask.level == Level::Unknown {
        return Ok((Vec::new(), Vec::new()));
    }
    if !export.ask.resource_types.is_empty() {
        return Ok((export.ask.resource_types.clone(), Vec::new()));
    }
    let served = capabilities::resource_types(work.http(), &work.tokens()).await?;
    Ok(served.into_iter().partition(|name| resource::may_be_exported(name)))
}

/// The server says that it does not export the type it was asked for by itself. If nobody asked for it by name, that is no failure.
pub fn is_no_loss(export: &Export, refusal: &Refusal) -> bool {
    let Some(kind) = export.types_now().first() else { return false };
    let unsupported = refusal.outcome.as_ref().map(OperationOutcome::unsupported_words).unwrap_or_default();
    export.split_types.is_some() && export.ask.resource_types.is_empty() && (names(&unsupported, kind) || names(&unsupported, "_type"))
}

/// On without this type.
pub fn skip_type(export: &Export, words: &str) -> Outcome {
    Outcome::Done(Box::new(NotExported {
        resource_type: export.types_now().first().cloned().unwrap_or_default(),
        words: words.to_owned(),
        more: export.has_more_types(),
        nothing: export.manifest_pages == 0,
    }))
}

struct Split {
    types: Vec<String>,
    /// Types that the server has and does not export, or is not asked to.
    not_asked: Vec<String>,
}

#[async_trait]
impl Tail for Split {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        exports::split(tx.db(), id, &self.types).await?;
        let mut message =
            format!("Too many files for one export: the server is asked for each of {} resource types by itself", self.types.len());
        if !self.not_asked.is_empty() {
            let _ = write!(message, ", but not for {}", self.not_asked.join(", "));
        }
        message.push('.');
        let finding = Finding {
            severity: Severity::Warning,
            kind: FindingKind::SplitByType,
            resource_type: None,
            file: None,
            message: message.clone(),
        };
        exports::add_finding(tx.db(), id, &finding).await?;
        tx.tell(EventLevel::Warning, &message).await?;
        tx.enqueue(&[NewStage::new(StageKind::KickOff)]).await?;
        Ok(Written::Done)
    }
}

struct NotExported {
    resource_type: String,
    words: String,
    more: bool,
    /// Of no type at all so far.
    nothing: bool,
}

#[async_trait]
impl Tail for NotExported {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        let message = format!("The server exports no {}: {}.", self.resource_type, self.words);
        let finding = Finding {
            severity: Severity::Warning,
            kind: FindingKind::NotExported,
            resource_type: Some(self.resource_type.clone()),
            file: None,
            message: message.clone(),
        };
        exports::add_finding(tx.db(), id, &finding).await?;
        tx.tell(EventLevel::Warning, &message).await?;
        if self.more {
            exports::next_type(tx.db(), id).await?;
            tx.enqueue(&[NewStage::new(StageKind::KickOff)]).await?;
            return Ok(Written::Done);
        }
        if self.nothing {
            let failure = bulkhead_shared::domain::failure::Failure {
                stage: StageKind::KickOff,
                reason: Reason::NotFound,
                detail: format!("The server exports no resource type at all; the last was {}: {}.", self.resource_type, self.words),
                remedy: "ask for the resource types that the server has".to_owned(),
            };
            return Ok(Written::Fail(failure, exports::early_findings(tx.db(), id).await?));
        }
        exports::complete_manifest(tx.db(), id).await?;
        tx.settle().await?;
        Ok(Written::Done)
    }
}
