//! A Postgres as users have it: durable, with fsync on.

use std::os::unix::fs::PermissionsExt as _;

use bulkhead_local::postgres::{Options, Postgres};
use bulkhead_shared::db;
use tempfile::TempDir;

/// A server with one migrated database, in a folder of its own.
pub struct Durable {
    pub url: String,
    /// For statistics that only a superuser resets, and VACUUM.
    pub admin_url: String,
    /// Ends before its folder goes.
    pub server: Postgres,
    /// Of this measurement.
    pub folder: TempDir,
}

impl Durable {
    /// Starts it.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        // The server may run as another user than we do.
        let open = std::fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().prefix("bulkhead-bench-").permissions(open).tempdir().expect("a folder");
        let server = Postgres::start(&folder.path().join("data"), Options::default()).await.expect("a Postgres");
        let url = server.url();
        db::migrate(&url).await.expect("migrations");
        let admin_url = server.admin_url(bulkhead_local::postgres::DATABASE);
        Self { url, admin_url, server, folder }
    }
}
