//! check: tries what an export would need, step by step, and starts none. What goes wrong is a result, not an error: whoever
//! asked waits for it.

mod authorization;
mod server;

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::exports,
    domain::{
        check::{Report, Step, StepName, StepResult},
        export::ExportState,
    },
    queue::{Fenced, Outcome, StageError, Tail, Trouble, Written},
};

use super::Stage;
use crate::work::Work;

pub struct Check;

#[async_trait]
impl Stage for Check {
    fn time_limit(&self) -> Duration {
        Duration::from_secs(10 * 60)
    }

    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        work.checkpoint(&Begun).await?;
        let mut report = Report::default();
        let access = authorization::steps(work, &mut report).await?;
        server::steps(work, &access, &mut report).await?;
        Ok(Outcome::Done(Box::new(Checked(report))))
    }
}

/// How the server may be asked.
enum Access {
    Open,
    Token(String),
    /// No token could be had: most is not worth a question.
    None,
}

struct Begun;

#[async_trait]
impl Tail for Begun {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        exports::step(tx.db(), id, &[ExportState::Queued], ExportState::Authenticating).await?;
        Ok(Written::Done)
    }
}

struct Checked(Report);

#[async_trait]
impl Tail for Checked {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        exports::complete_check(tx.db(), id, &self.0).await?;
        Ok(Written::Done)
    }
}

fn step(step: StepName, result: StepResult, message: impl Into<String>, remedy: Option<&str>) -> Step {
    Step { step, result, message: message.into(), remedy: remedy.map(str::to_owned) }
}

fn ok(name: StepName, message: impl Into<String>) -> Step {
    step(name, StepResult::Ok, message, None)
}

fn skipped(name: StepName, message: impl Into<String>) -> Step {
    step(name, StepResult::Skipped, message, None)
}

fn warning(name: StepName, message: impl Into<String>, remedy: &str) -> Step {
    step(name, StepResult::Warning, message, Some(remedy))
}

fn failed(name: StepName, trouble: Trouble) -> Step {
    // The remedies of an export's stages are of an export that failed.
    let remedy = trouble.remedy.replace("retry the export", "check again").replace("submit the export again", "check again");
    step(name, StepResult::Failed, trouble.detail, Some(&remedy))
}

/// What goes wrong at the server is a result; what goes wrong with us is not.
fn trouble(error: StageError) -> Result<Trouble, StageError> {
    match error {
        StageError::Retry(trouble, _) | StageError::Fail(trouble) => Ok(trouble),
        ours @ (StageError::Again(..) | StageError::Lost) => Err(ours),
    }
}
