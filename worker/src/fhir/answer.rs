//! What an HTTP status that is not success means, in the phases where the meaning is common.

use std::time::Duration;

use bulkhead_shared::{
    domain::{failure::Reason, outgoing::without_query, search::Search},
    queue::{StageError, Trouble},
};
use reqwest::Response;

use super::{
    http::{Http, SMALL_BODY},
    outcome::{OperationOutcome, shorten},
    retry_after,
};

/// A refusal, read: status, the server's words, how long to wait.
pub struct Refusal {
    pub status: u16,
    pub outcome: Option<OperationOutcome>,
    pub retry_after: Option<Duration>,
    pub place: String,
}

impl Refusal {
    /// Reads it.
    pub async fn read(http: &Http, answer: Response) -> Result<Self, StageError> {
        let status = answer.status().as_u16();
        let retry_after = retry_after::of(answer.headers());
        let place = without_query(answer.url().as_str());
        let body = http.body(answer, SMALL_BODY).await?;
        Ok(Self { status, outcome: OperationOutcome::read(&body), retry_after, place })
    }

    /// Without the patients who were asked for: the words and the place go to people and logs.
    #[must_use]
    pub fn without(mut self, search: &Search) -> Self {
        self.place = search.redacted(&self.place);
        if let Some(outcome) = &mut self.outcome {
            outcome.change_words(|words| search.redacted(words));
        }
        self
    }

    /// The server's words, or its status.
    pub fn words(&self) -> String {
        match &self.outcome {
            Some(outcome) => format!("{} (HTTP {})", shorten(&outcome.text()), self.status),
            None => format!("HTTP {} from {}", self.status, self.place),
        }
    }

    /// 401 with a fresh token, or 403.
    pub fn credentials(&self) -> Option<StageError> {
        match self.status {
            401 => Some(StageError::Fail(Trouble::new(
                Reason::Credentials,
                format!("The server refused the credentials: {}.", self.words()),
                "check client_id, the key and its registration (a configuration of the SMART page expires: make a new one), then submit again",
            ))),
            403 => Some(StageError::Fail(Trouble::new(
                Reason::Forbidden,
                format!("The server does not allow this: {}.", self.words()),
                "ask the server's operator for the scope or the Group, then retry the export",
            ))),
            _ => None,
        }
    }

    /// Worth another attempt.
    pub fn again(&self, what: &str) -> StageError {
        StageError::Retry(
            Trouble::new(
                Reason::Unreachable,
                format!("{what}: {}.", self.words()),
                "wait until the server is well again, then retry the export",
            ),
            self.retry_after,
        )
    }
}
