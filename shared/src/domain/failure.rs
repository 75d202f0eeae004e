//! Why an export failed, in words that say what to do next.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{stage::StageKind, words};

words! {
    /// The class of a failure: what operators filter by.
    pub enum Reason {
        /// The authorization server or the FHIR server refused our credentials.
        Credentials = "credentials",
        /// The credentials are good, but not for this.
        Forbidden = "forbidden",
        /// No such Group, or the server has no $export.
        NotFound = "not_found",
        /// The server refused the request as asked.
        Refused = "refused",
        /// The server's own export failed.
        ServerError = "server_error",
        /// The server has forgotten the export or its files.
        Expired = "expired",
        /// The server says that the export is too large for it.
        TooManyFiles = "too_many_files",
        /// The server did not answer in time, or could not be reached.
        Unreachable = "unreachable",
        /// A crash between the server's answer and our commit, and the source must not be asked twice.
        KickOffUncertain = "kick_off_uncertain",
        /// A limit of ours was met: the detail names its setting.
        Limit = "limit",
        /// Not every row arrived.
        Incomplete = "incomplete",
        /// Ours: a bug, a broken disk.
        Internal = "internal",
    }
}

/// A failure: where, why, and what to do next. No PHI, no secrets, no signed URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Where it failed.
    pub stage: StageKind,
    /// The class of the failure: what lists and retries are filtered by.
    pub reason: Reason,
    /// One sentence: what happened.
    pub detail: String,
    /// One sentence: what to do next.
    pub remedy: String,
}
