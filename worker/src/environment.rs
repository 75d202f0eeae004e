//! What every stage of a process shares.

use bulkhead_shared::{
    blob::Blobs,
    config::{BlobSettings, LimitSettings, RetrySettings, SearchSettings},
    secrets::Cipher,
};
use sqlx::PgPool;

use crate::{
    fhir::http::Http,
    load::{buffers::Buffers, connections::Connections},
};

/// Made once a process.
pub struct Environment {
    /// For claims, finishes and everything short.
    pub pool: PgPool,
    pub loads: Connections,
    pub buffers: Buffers,
    pub worker_name: String,
    pub http: Http,
    pub blobs: Blobs,
    pub cipher: Cipher,
    pub retry: RetrySettings,
    pub blob_settings: BlobSettings,
    pub limits: LimitSettings,
    pub search: SearchSettings,
}
