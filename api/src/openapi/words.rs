//! Words of the wire.

use bulkhead_shared::domain::export::ExportState;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// What `status` says.
pub struct JobStatus;

impl PartialSchema for JobStatus {
    fn schema() -> RefOr<Schema> {
        let mut words: Vec<&str> = ExportState::ALL.iter().map(|state| state.on_the_wire()).collect();
        words.dedup();
        let meaning = "`queued`: taken in; `in-progress`: its server works on it; `downloading`, `loading`: its files come; then it stays \
                       `completed` (every resource is here), `failed` (`error` and `remedy` say why and what to do) or `cancelled`.";
        Schema::Object(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).description(Some(meaning)).build()).into()
    }
}

impl ToSchema for JobStatus {}
