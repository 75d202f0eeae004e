//! Where a part's blob is.

use bulkhead_shared::blob::Compression;
use uuid::Uuid;

/// `{etl_job_id}/{file}/{claim_id}/{part}`: unique to the claim, so a paused worker overwrites nothing. How it is compressed is in its
/// name, as everywhere.
pub fn of_part(export_id: Uuid, file_id: i64, claim_id: Uuid, n: i32, compression: Compression) -> String {
    format!("{export_id}/{file_id}/{claim_id}/{n}.ndjson{}", compression.suffix())
}
