//! The answer to a question: the exports, what was picked, and the charts.

use bulkhead_shared::{db::summaries::Summarised, domain::export::ExportState};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{charts::Charts, filters::Picked, period::By, question::Question, table::Table};
use crate::openapi::JobStatus;

/// Whether an export's numbers are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// They are in the charts.
    Ready,
    /// The export has ended; a worker sums it up. Ask again in a moment.
    Pending,
    /// The export is under way; it is summed up when it has ended.
    Loading,
    /// It could not be summed up, and nobody tries any more; the export's story says why. The data page has a button to try again.
    GivenUp,
}

impl Standing {
    /// The word that programs read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Pending => "pending",
            Self::Loading => "loading",
            Self::GivenUp => "given-up",
        }
    }
}

/// What is loaded of a resource type so far.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Loaded {
    /// null: of files whose type the server did not say.
    #[schema(required)]
    pub resource_type: Option<String>,
    /// Rows in the database.
    pub records: i64,
}

/// An export in the charts.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = DataJob)]
#[expect(clippy::struct_field_names, reason = "the words of the API")]
pub struct Job {
    /// Its id; also the `etl_job_id` of its rows.
    pub job_id: Uuid,
    /// system, patient, group; unknown, where only a status URL was given.
    #[schema(example = "group")]
    pub level: String,
    /// The Group's id; null when it is not the export of a Group.
    #[schema(required, example = "BMCHealthNet")]
    pub group_id: Option<String>,
    /// The server's FHIR base URL.
    pub fhir_server_url: String,
    #[schema(value_type = JobStatus)]
    pub status: &'static str,
    pub standing: Standing,
    /// The types it was asked for; empty: all.
    pub resource_types: Vec<String>,
    /// It was asked only for what changed since; null: for everything.
    #[schema(required)]
    pub since: Option<String>,
    /// It was asked for with further parameters (`_typeFilter`, `_elements` and the like).
    pub filtered: bool,
    /// It has gaps that somebody accepted.
    pub accepted: bool,
    /// The day at which ages are counted; null until it is summed up.
    #[schema(required)]
    pub as_of: Option<NaiveDate>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    #[schema(required)]
    pub finished_at: Option<DateTime<Utc>>,
    /// What is loaded, while there is no summary.
    pub loaded_so_far: Vec<Loaded>,
}

impl Job {
    pub fn new(export: &Summarised, state: ExportState, standing: Standing, so_far: Vec<(Option<String>, i64)>) -> Self {
        Self {
            job_id: export.export_id,
            level: export.level.clone(),
            group_id: export.group_id.clone(),
            fhir_server_url: export.base_url.clone(),
            status: state.on_the_wire(),
            standing,
            resource_types: export.resource_types.clone(),
            since: export.since.clone(),
            filtered: export.filtered,
            accepted: export.accepted_at.is_some(),
            as_of: export.as_of,
            created_at: export.created_at,
            finished_at: export.finished_at,
            loaded_so_far: so_far.into_iter().map(|(resource_type, records)| Loaded { resource_type, records }).collect(),
        }
    }
}

/// A value that was picked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Filter {
    /// The parameter.
    #[schema(example = "gender")]
    pub name: String,
    /// Its value; empty: not given.
    #[schema(example = "female")]
    pub value: String,
}

/// An observation that has values.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Measured {
    /// Its code; null: those without one.
    #[schema(required, value_type = Option<String>, example = "8302-2")]
    pub code: Picked,
    /// What it is called.
    #[schema(required)]
    pub display: Option<String>,
    /// Its records and their parts that may have one.
    pub records: usize,
}

impl Measured {
    pub fn of(code: &Picked) -> Self {
        Self { code: code.clone(), display: None, records: 0 }
    }
}

/// Exact numbers of some exports: counted, never estimated.
#[derive(Debug, Serialize, ToSchema)]
pub struct Data {
    /// The exports, in the order of their ids.
    pub jobs: Vec<Job>,
    /// Groups whose latest export is not here, because there are more than can be compared at once.
    pub groups_left_out: usize,
    /// What was picked.
    pub filters: Vec<Filter>,
    pub by: By,
    /// Years of an age band, or `life`.
    #[schema(value_type = String, example = "10")]
    pub bands: &'static str,
    /// The code of the observation whose values `histogram` and `trend` show; null: one without a code, or none.
    #[schema(required, value_type = Option<String>, example = "8302-2")]
    pub values_of: Picked,
    /// The unit that most of these values have, of which a picture is; null: most have none.
    #[schema(required, example = "cm")]
    pub unit: Option<String>,
    /// What `values_of` may be, the most frequent first.
    pub measured: Vec<Measured>,
    /// The charts: totals, resources, people, conditions, encounters, observations, medications, histogram, trend.
    pub charts: Vec<Table>,
}

impl Data {
    pub fn new(jobs: Vec<Job>, question: &Question, charts: Charts, groups_left_out: usize) -> Self {
        let filters = question.picked.iter().map(|(name, value)| Filter { name: name.clone(), value: value.clone() }).collect();
        let values_of = charts.values_of.clone().flatten();
        let measured = charts.measured();
        Self {
            jobs,
            groups_left_out,
            filters,
            by: question.by,
            bands: question.bands.as_str(),
            values_of,
            unit: charts.unit(),
            measured,
            charts: charts.tables(),
        }
    }
}
