//! What the sandbox has seen, counted exactly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts since the sandbox's first start (they are part of its state), and what is under way now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Exports created. A request refused or cut before the export was created does not count.
    pub kick_offs: u64,
    /// Exports created at Group level, by Group.
    pub kick_offs_by_group: BTreeMap<String, u64>,
    /// Kick-off requests that arrived, whatever became of them.
    pub kick_off_requests: u64,
    /// GETs of a status URL that arrived, whatever became of them.
    pub status_polls: u64,
    /// Manifests (or pages of one) answered.
    pub manifests: u64,
    /// File bodies begun (200 or 206).
    pub files_started: u64,
    /// File bodies sent to their planned end; a cut or held one is not finished.
    pub files_finished: u64,
    /// File bodies under way now.
    pub files_now: u64,
    /// Downloads refused because too many were under way.
    pub crowded: u64,
    /// The most file bodies that were under way at once.
    pub most_files_at_once: u64,
    pub tokens_issued: u64,
    /// Token requests answered with an OAuth error.
    pub token_refusals: u64,
    /// FHIR requests answered 401.
    pub unauthorized: u64,
    /// Requests with an `Authorization` header at the origin of the signed links, where none belongs.
    pub tokens_leaked: u64,
    /// Requests refused because there were too many in a time.
    pub limited: u64,
    /// Exports deleted by their client.
    pub deletes: u64,
    /// Pages of FHIR searches answered.
    pub searches: u64,
    /// Reads of one resource or Group answered.
    pub reads: u64,
    /// Times a fault has struck.
    pub faults: u64,
    /// Requests held now.
    pub held: u64,
    /// Exports that exist now: neither deleted nor forgotten.
    pub exports: u64,
}
