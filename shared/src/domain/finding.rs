//! A gap or an oddity of an export: what kept it from `completed`, or what its reader should know.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
        /// A file could not be downloaded.
        FileFailed = "file_failed",
        /// A file has another number of lines than the manifest says.
        CountMismatch = "count_mismatch",
        /// Lines could not be loaded; they are kept.
        RejectedLines = "rejected_lines",
        /// What the server itself reported.
        ServerOutcome = "server_outcome",
        /// The server named deleted resources; they are not deleted here.
        DeletionsNotApplied = "deletions_not_applied",
        /// A file holds resources of another type than the manifest says.
        WrongType = "wrong_type",
        /// Resources came more than once; the newer is kept.
        Duplicates = "duplicates",
        /// There was no bulk export: FHIR search took its place.
        SearchedInstead = "searched_instead",
        /// Nothing of a type was read: the server cannot search it.
        TypeNotSearched = "type_not_searched",
        /// A parameter that a search could not apply: it means nothing to it, or the server left it out.
        FilterNotApplied = "filter_not_applied",
        /// The server answers a search for several patients for one of them.
        ListNotApplied = "list_not_applied",
        /// The server does not say how much there is: nothing confirms that all came.
        Unconfirmed = "unconfirmed",
        /// Members of the Group that were not found, or are no patients of this server.
        MembersLeftOut = "members_left_out",
        /// Pages of a search have entries without a resource.
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
        /// The authorization server granted less than the export needs.
        NarrowerScope = "narrower_scope",
    }
}

/// One finding. `message` holds no resource content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// `error` keeps an export from `completed`; `warning` does not.
    pub severity: Severity,
    /// What kind of gap or oddity.
    pub kind: FindingKind,
    /// The type of its resources, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// The file's number in the manifest, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<i32>,
    /// A sentence for people.
    pub message: String,
}
