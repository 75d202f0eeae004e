//! Asking until the server understands: dialect after dialect, and without the parameters that it does not support.

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    domain::{
        failure::Reason,
        finding::{Finding, FindingKind, Severity},
        source::Dialect,
    },
    queue::{Fenced, Outcome, StageError, Tail, Trouble, Written},
};

use super::{super::fall_back, cool_down, split};
use crate::{
    fhir::{
        answer::Refusal,
        dialect::{self, Parameters},
        http::Ask,
        outcome::OperationOutcome,
    },
    work::Work,
};

/// Which dialects to try, in this order.
const DIALECTS: [Dialect; 4] = [Dialect::GetComma, Dialect::PostRepeat, Dialect::GetRepeat, Dialect::PostComma];

/// What to do after a refusal.
pub enum Next {
    /// Ask again: something about the question was changed.
    Ask,
    End(Outcome),
}

pub struct Conversation<'w> {
    work: &'w Work,
    dialect: Dialect,
    tried: Vec<Dialect>,
    dropped: Vec<String>,
    /// Lists are written in the other way, to see whether that is what the server wants.
    other_lists: Option<Before>,
}

/// How it was before lists were written in the other way.
struct Before {
    dialect: Dialect,
    unsupported: Vec<String>,
}

impl<'w> Conversation<'w> {
    pub fn new(work: &'w Work) -> Self {
        let mut conversation =
            Self { work, dialect: Dialect::GetComma, tried: Vec::new(), dropped: work.export.dropped.clone(), other_lists: None };
        let known = work.source.dialect.unwrap_or(Dialect::GetComma);
        conversation.dialect = if conversation.parameters().need_post() && !known.is_post() { Dialect::PostRepeat } else { known };
        conversation
    }

    fn parameters(&self) -> Parameters {
        Parameters::of(&self.work.export.ask, self.work.export.types_now(), &self.dropped)
    }

    /// The next request.
    pub fn ask(&mut self) -> Result<Ask, StageError> {
        if !self.tried.contains(&self.dialect) {
            self.tried.push(self.dialect);
        }
        dialect::kick_off(&self.work.source.base_url, &self.work.export.ask, &self.parameters(), self.dialect).map_err(|_| {
            StageError::Fail(Trouble::new(Reason::Refused, "fhir_server_url is not a URL.", "submit the export again with the right URL"))
        })
    }

    /// The dialect that the server understood, if that was not known.
    pub fn learned(&self) -> Option<Dialect> {
        (self.work.source.dialect != Some(self.dialect) && !self.parameters().need_post()).then_some(self.dialect)
    }

    /// What the server's no means (design: "What each HTTP status means", kick-off).
    pub async fn refused(&mut self, refusal: &Refusal) -> Result<Next, StageError> {
        let work = self.work;
        if refusal.status == 413 || refusal.outcome.as_ref().is_some_and(OperationOutcome::is_too_many_files) {
            return split::too_many_files(work).await.map(Next::End);
        }
        if let Some(delay) = cool_down::asked_for(refusal, work.retry().retry_max_delay) {
            return cool_down::wait(work, refusal, delay).await.map(Next::End);
        }
        if let Some(error) = refusal.credentials() {
            return Err(error);
        }
        match refusal.status {
            405 | 406 | 415 if self.next_dialect() => return Ok(Next::Ask),
            400 | 422 | 501 if self.change(refusal).await? => return Ok(Next::Ask),
            400 | 422 if split::is_no_loss(&work.export, refusal) => {
                return Ok(Next::End(split::skip_type(&work.export, &refusal.words())));
            }
            _ => {}
        }
        // A person said how to ask: 405 may mean that only.
        let way_refused = refusal.status == 405 && work.source.dialect_set;
        if !way_refused && let Some(search) = fall_back::instead(work, refusal).await? {
            return Ok(Next::End(search));
        }
        Err(self.meaning(refusal))
    }

    fn next_dialect(&mut self) -> bool {
        if self.work.source.dialect_set {
            return false;
        }
        let need_post = self.parameters().need_post();
        let next = DIALECTS.into_iter().find(|dialect| !self.tried.contains(dialect) && (dialect.is_post() || !need_post));
        self.dialect = next.unwrap_or(self.dialect);
        next.is_some()
    }

    /// Says a list in the other way first, then leaves out what the server says it does not support.
    async fn change(&mut self, refusal: &Refusal) -> Result<bool, StageError> {
        let Some(outcome) = &refusal.outcome else { return Ok(false) };
        let parameters = self.parameters();
        let named = parameters.named_in(&outcome.all_words());
        let list_named = named.iter().any(|name| parameters.is_list(name));
        let mut unsupported = self.droppable(parameters.named_in(&outcome.unsupported_words()));
        if let Some(before) = self.other_lists.take() {
            if list_named {
                // No better: as before, and without what the server did not like then.
                self.dialect = before.dialect;
                unsupported = before.unsupported;
            }
        } else if list_named && !self.tried.contains(&self.dialect.other_lists()) && !self.work.source.dialect_set {
            self.other_lists = Some(Before { dialect: self.dialect, unsupported });
            self.dialect = self.dialect.other_lists();
            return Ok(true);
        }
        if unsupported.is_empty() {
            return Ok(false);
        }
        self.work.checkpoint(&Dropped { names: unsupported.clone(), words: refusal.words() }).await?;
        self.dropped.extend(unsupported);
        Ok(true)
    }

    /// `patient` is who may be exported, not what of them: without it others would come. And who asks for a type at a time needs `_type`.
    fn droppable(&self, mut named: Vec<String>) -> Vec<String> {
        let split = self.work.export.split_types.is_some();
        named.retain(|name| name != "patient" && !(split && name == "_type"));
        named
    }

    fn meaning(&self, refusal: &Refusal) -> StageError {
        let words = refusal.words();
        match refusal.status {
            200..=299 => StageError::Fail(Trouble::new(
                Reason::Refused,
                format!("The server accepted the export but gave no Content-Location to ask for its status ({words})."),
                "check that fhir_server_url is a Bulk Data server",
            )),
            404 => StageError::Fail(Trouble::new(
                Reason::NotFound,
                format!("The server has no {}, or no $export for it: {words}.", self.work.export.ask.title()),
                "check fhir_server_url and the Group's id",
            )),
            408 | 500.. => refusal.again("The server could not start the export"),
            _ => StageError::Fail(Trouble::new(
                Reason::Refused,
                format!("The server refused the export: {words}."),
                "change the request as the server says, then submit it again",
            )),
        }
    }
}

/// Parameters that the server does not support. What they would have left out is looked at when loading, where that can be.
struct Dropped {
    names: Vec<String>,
    words: String,
}

#[async_trait]
impl Tail for Dropped {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        if !exports::drop_parameters(tx.db(), id, &self.names).await? {
            return Ok(Written::Done);
        }
        for name in &self.names {
            let instead = match name.as_str() {
                "_type" => "resources of other types are left out when loading",
                "_since" => "resources last updated before are left out when loading, those without meta.lastUpdated are kept",
                _ => "the export holds what it would have left out",
            };
            let message = format!("The server does not support {name} ({}); {instead}.", self.words);
            let finding = Finding {
                severity: Severity::Warning,
                kind: FindingKind::ParameterDropped,
                resource_type: None,
                file: None,
                message: message.clone(),
            };
            exports::add_finding(tx.db(), id, &finding).await?;
            tx.tell(EventLevel::Warning, &message).await?;
        }
        Ok(Written::Done)
    }
}
