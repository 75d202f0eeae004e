//! The files of a manifest and the parts they are cut into.

use super::words;

words! {
    /// Which array of the manifest listed it.
    pub enum FileKind {
        Output = "output",
        Deleted = "deleted",
        Error = "error",
    }
}

words! {
    /// Where a file stands; whether it is loaded, its numbers tell.
    pub enum FileState {
        Pending = "pending",
        Downloaded = "downloaded",
        Failed = "failed",
    }
}

words! {
    pub enum PartState {
        Stored = "stored",
        Loaded = "loaded",
        /// Its blob is gone or broken: the file is read again.
        Lost = "lost",
    }
}

/// One entry of a manifest.
#[derive(Debug, Clone)]
pub struct ExportFile {
    pub id: i64,
    /// From 1, in the manifest's order.
    pub n: i32,
    pub url: String,
    pub kind: FileKind,
    pub resource_type: Option<String>,
    pub expected_count: Option<i64>,
    pub requires_token: Option<bool>,
    pub state: FileState,
    pub bytes: i64,
    pub lines: i64,
    pub error: Option<String>,
    pub etag: Option<String>,
    /// The manifest page that lists it; fetched again when its links are too old.
    pub manifest_url: Option<String>,
}

/// Where a part stands in its file and what came of it. Bytes and lines are counted uncompressed, from 0.
#[derive(Debug, Clone)]
pub struct FilePart {
    pub id: i64,
    pub file_id: i64,
    pub n: i32,
    pub blob_key: String,
    pub byte_start: i64,
    pub byte_len: i64,
    /// Lines before it, and in it, as an editor counts them.
    pub first_line: i64,
    pub physical_lines: i64,
    /// Resources in it.
    pub lines: i64,
    pub sha256: Vec<u8>,
    pub state: PartState,
    pub ever_loaded: bool,
}
