//! Where a part's blob is.

use std::fmt::Display;

use bulkhead_shared::blob::Compression;
use uuid::Uuid;

/// `{etl_job_id}/{file}/{claim_id}/{part}`: unique to the claim, so a paused worker overwrites nothing. `part`: its number; a claim that
/// begins anew tells its readings apart. How it is compressed is in its name, as everywhere.
pub fn of_part(export_id: Uuid, file_id: i64, claim_id: Uuid, part: impl Display, compression: Compression) -> String {
    format!("{export_id}/{file_id}/{claim_id}/{part}.ndjson{}", compression.suffix())
}
