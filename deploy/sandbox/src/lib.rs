//! A FHIR R4 Bulk Data server to test and to show with. **Not for production**: it makes up patients, hands out private
//! keys, and breaks on demand.
//!
//! It speaks the Bulk Data Access IG (kick-off at system, Patient and Group level, status, manifest, files) and SMART
//! Backend Services with real signature checks. See the crate's README for every switch.
//!
//! ```no_run
//! # use bulkhead_sandbox::{Sandbox, SandboxConfig};
//! # async fn example() -> anyhow::Result<()> {
//! let sandbox = Sandbox::start(SandboxConfig { scale: 0.1, ..Default::default() })?;
//! sandbox.fault("file:drop=1000@Condition");
//! // ... export from sandbox.base_url() ...
//! sandbox.wait_until(|stats| stats.deletes == 1).await;
//! assert_eq!(sandbox.stats().kick_offs, 1);
//! # Ok(()) }
//! ```

mod app;
mod auth;
mod config;
mod content;
mod door;
pub mod faults;
mod links;
mod outcome;
mod output;
mod preset;
mod routes;
mod sandbox;
mod search;
mod state;
mod stats;
mod switches;
mod transfer;
mod wire;
mod wish;
mod world;

pub use auth::credentials::ClientCredentials;
pub use config::{Generated, GeneratedKind, SandboxConfig};
pub use faults::Fault;
pub use faults::duration;
pub use preset::Preset;
pub use sandbox::Sandbox;
pub use stats::Stats;
pub use world::{GROUPS, TYPES};
