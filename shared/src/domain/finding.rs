//! A gap or an oddity of an export: what kept it from `completed`, or what its reader should know.

use serde::{Deserialize, Serialize};

use super::words;

words! {
    /// `error` keeps an export from `completed`; `warning` does not.
    pub enum Severity {
        Warning = "warning",
        Error = "error",
    }
}

words! {
    /// What kind of gap.
    pub enum FindingKind {
        FileFailed = "file_failed",
        CountMismatch = "count_mismatch",
        RejectedLines = "rejected_lines",
        ServerOutcome = "server_outcome",
        DeletionsNotApplied = "deletions_not_applied",
        WrongType = "wrong_type",
        Duplicates = "duplicates",
        /// There was no bulk export: FHIR search took its place.
        SearchedInstead = "searched_instead",
        TypeNotSearched = "type_not_searched",
        FilterNotApplied = "filter_not_applied",
        MembersLeftOut = "members_left_out",
        /// A page of a search has entries without a resource.
        EmptyEntries = "empty_entries",
        /// The server does not support a parameter; it was left out.
        ParameterDropped = "parameter_dropped",
        /// Too many files: the server was asked for each type by itself.
        SplitByType = "split_by_type",
        /// The server exports nothing of a type.
        NotExported = "not_exported",
        /// Resources that were not asked for and came all the same.
        LeftOut = "left_out",
        /// The resources say themselves that parts of them are left out.
        Subsetted = "subsetted",
    }
}

/// One finding. `message` holds no resource content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    pub kind: FindingKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// The file's number in the manifest, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<i32>,
    pub message: String,
}
