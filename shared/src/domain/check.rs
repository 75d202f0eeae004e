//! A check: what an export would need is tried, step by step, and told in words. It starts none.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

words! {
    /// What is tried, in this order.
    pub enum StepName {
        /// What the server says of itself, and where tokens come from.
        Discovery = "discovery",
        Token = "token",
        Scopes = "scopes",
        /// The CapabilityStatement: is it a FHIR server, does it list $export?
        Capabilities = "capabilities",
        /// The Group that was named.
        Group = "group",
        /// The Groups the server lists.
        Groups = "groups",
    }
}

words! {
    /// How it went. The order is that of their weight.
    pub enum StepResult {
        Skipped = "skipped",
        Ok = "ok",
        Warning = "warning",
        Failed = "failed",
    }
}

/// One step: a sentence, and what to do where something is to be done. No PHI, no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What was tried.
    pub step: StepName,
    /// How it went.
    pub result: StepResult,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A Group of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupListed {
    /// What goes into `fhir_server_url` behind `/Group/`.
    pub id: String,
    /// As the server shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many members it has, if the server says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub steps: Vec<Step>,
    pub groups: Vec<GroupListed>,
    /// The server has more Groups than are listed here.
    pub more_groups: bool,
    /// Types of data that its CapabilityStatement lists, sorted.
    #[serde(default)]
    pub types: Vec<String>,
}

impl Report {
    /// The worst of its steps; `ok` when nothing went wrong.
    #[must_use]
    pub fn result(&self) -> StepResult {
        let weight = |result: StepResult| StepResult::ALL.iter().position(|other| *other == result);
        self.steps.iter().map(|step| step.result).max_by_key(|result| weight(*result)).map_or(StepResult::Ok, |worst| match worst {
            StepResult::Skipped => StepResult::Ok,
            worst => worst,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        StepResult::{Failed, Ok, Skipped, Warning},
        *,
    };

    #[test]
    fn the_result_is_that_of_the_worst_step() {
        let of = |results: &[StepResult]| {
            let steps = results.iter().map(|result| Step { step: StepName::Token, result: *result, message: String::new(), remedy: None });
            Report { steps: steps.collect(), ..Report::default() }.result()
        };
        assert_eq!(of(&[Skipped, Skipped]), Ok);
        assert_eq!(of(&[Ok, Skipped]), Ok);
        assert_eq!(of(&[Warning, Ok]), Warning);
        assert_eq!(of(&[Failed, Warning]), Failed);
    }
}
