//! An export: one ETL job, a row that walks forward.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{failure::Failure, finding::Finding, words};

words! {
    /// Where an export stands.
    pub enum ExportState {
        Queued = "queued",
        Authenticating = "authenticating",
        KickingOff = "kicking_off",
        InProgress = "in_progress",
        Downloading = "downloading",
        Loading = "loading",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl ExportState {
    /// Nothing but release and clean-up happens to it by itself any more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The guide's word for it: what `status` says on the wire.
    #[must_use]
    pub const fn on_the_wire(self) -> &'static str {
        match self {
            Self::Queued | Self::Authenticating => "queued",
            Self::KickingOff | Self::InProgress => "in-progress",
            Self::Downloading => "downloading",
            Self::Loading => "loading",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

words! {
    /// The three levels of the Bulk Data IG's export operation; `unknown` for a resumed status URL.
    pub enum Level {
        System = "system",
        Patient = "patient",
        Group = "group",
        Unknown = "unknown",
    }
}

words! {
    /// How its resources are had.
    pub enum Route {
        /// By the server's bulk export.
        Bulk = "bulk",
        /// By FHIR search: there was no bulk export to be had.
        Search = "search",
    }
}

words! {
    /// Why the row is there.
    pub enum Purpose {
        Export = "export",
        /// Tries out what an export would need; starts none.
        Check = "check",
    }
}

/// What is asked of a server: level, Group and parameters of the kick-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub level: Level,
    pub group_id: Option<String>,
    /// `_type`; empty = all.
    pub resource_types: Vec<String>,
    /// `_since`, a FHIR instant, passed on as written.
    pub since: Option<String>,
    /// The other parameters, the IG's and the vendor's: name -> value or list of values.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// `Prefer: handling=lenient`: the server may ignore parameters that it does not support.
    pub lenient: bool,
}

impl Ask {
    /// The path below the FHIR base URL (Bulk Data IG, "Kick-off Request").
    #[must_use]
    pub fn operation(&self) -> String {
        match (self.level, &self.group_id) {
            (Level::Group, Some(id)) => format!("Group/{id}/$export"),
            (Level::Patient, _) => "Patient/$export".to_owned(),
            _ => "$export".to_owned(),
        }
    }

    /// For people: what is exported.
    #[must_use]
    pub fn title(&self) -> String {
        match (self.level, &self.group_id) {
            (Level::Group, Some(id)) => format!("Group {id}"),
            (Level::Patient, _) => "all patients".to_owned(),
            (Level::Unknown, _) => "resumed export".to_owned(),
            _ => "whole system".to_owned(),
        }
    }
}

impl Export {
    /// The types to ask the server for now; empty = all.
    #[must_use]
    pub fn types_now(&self) -> &[String] {
        match &self.split_types {
            Some(types) => types.get(self.split_at..).unwrap_or_default().get(..1).unwrap_or_default(),
            None => &self.ask.resource_types,
        }
    }

    /// The types that are still to be had, where the server is asked for each by itself.
    #[must_use]
    pub fn types_left(&self) -> Option<&[String]> {
        self.split_types.as_ref().map(|types| types.get(self.split_at..).unwrap_or_default())
    }

    /// All status URLs that the server has given for it.
    pub fn status_urls(&self) -> impl Iterator<Item = &str> {
        self.earlier_status_urls.iter().chain(&self.status_url).map(String::as_str)
    }

    /// Whether the server is to be asked for another type after this one.
    #[must_use]
    pub fn has_more_types(&self) -> bool {
        self.split_types.as_ref().is_some_and(|types| self.split_at + 1 < types.len())
    }

    /// Whether the server ignores a parameter, so that we must look at what it left undone.
    #[must_use]
    pub fn was_dropped(&self, parameter: &str) -> bool {
        self.dropped.iter().any(|dropped| dropped == parameter)
    }
}

/// The row, as stages and pages read it.
#[derive(Debug, Clone)]
pub struct Export {
    pub id: Uuid,
    pub source_id: Uuid,
    pub purpose: Purpose,
    pub ask: Ask,
    pub accept_partial: bool,
    pub route: Route,
    pub waits_for: Option<Uuid>,
    pub state: ExportState,
    pub kick_off_intent_at: Option<DateTime<Utc>>,
    pub status_url: Option<String>,
    /// The page of the manifest to fetch next, once the first was read (`link[rel=next]`).
    pub next_manifest_url: Option<String>,
    pub manifest_pages: i32,
    pub manifest_complete: bool,
    pub transaction_time: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    /// Parameters that the server does not support and is not sent any more.
    pub dropped: Vec<String>,
    /// Asked once for each of these types, one after the other, because there were too many files.
    pub split_types: Option<Vec<String>>,
    /// How many of them are done.
    pub split_at: usize,
    /// Status URLs of the types before.
    pub earlier_status_urls: Vec<String>,
    pub findings: Vec<Finding>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub released_at: Option<DateTime<Utc>>,
    pub delete_requested_at: Option<DateTime<Utc>>,
    pub restarts: i32,
    pub failure: Option<Failure>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}
