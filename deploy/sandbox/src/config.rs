//! What a sandbox is told at its start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of one sandbox; `SandboxConfig { auth: true, ..Default::default() }` reads well in tests.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Port 0 takes any free port and keeps it over `stop` and `start_again`.
    pub listen: SocketAddr,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Demand a SMART Backend Services token on every FHIR request.
    pub auth: bool,
    /// How long an export answers 202 before its manifest is ready.
    pub export_time: Duration,
    /// `Retry-After` of the 202 answers, in seconds.
    pub retry_after: Option<u64>,
    pub token_lifetime: Duration,
    pub resources_per_file: usize,
    /// Folders of NDJSON(.gz) served as further Groups: (Group id, folder).
    pub data: Vec<(String, PathBuf)>,
    /// Where exports, clients, tokens and counts survive a kill.
    pub state: Option<PathBuf>,
    /// Multiplies the patients of the eight Groups; each keeps at least one.
    pub scale: f64,
    /// How long an export and its files live after completion.
    pub expires: Duration,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            auth: false,
            export_time: Duration::from_millis(300),
            retry_after: Some(1),
            token_lifetime: Duration::from_mins(5),
            resources_per_file: 5_000,
            data: Vec::new(),
            state: None,
            scale: 1.0,
            expires: Duration::from_hours(24),
        }
    }
}
