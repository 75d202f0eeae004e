//! A worker's settings.

use std::time::Duration;

use bulkhead_shared::config::{
    BlobSettings, DatabaseSettings, HttpSettings, LimitSettings, LogSettings, OutgoingSettings, RetrySettings, SearchSettings,
    SecretSettings, seconds,
};
use clap::Parser;

/// Claims stages of exports from the queue and runs them.
#[derive(Debug, Clone, Parser)]
#[command(name = "bulkhead-worker", version)]
pub struct WorkerSettings {
    #[command(flatten)]
    pub database: DatabaseSettings,
    #[command(flatten)]
    pub secrets: SecretSettings,
    #[command(flatten)]
    pub blobs: BlobSettings,
    #[command(flatten)]
    pub http: HttpSettings,
    #[command(flatten)]
    pub outgoing: OutgoingSettings,
    #[command(flatten)]
    pub limits: LimitSettings,
    #[command(flatten)]
    pub retry: RetrySettings,
    #[command(flatten)]
    pub search: SearchSettings,
    #[command(flatten)]
    pub log: LogSettings,
    /// Downloads at once
    #[arg(long, env = "WORKER_TRANSFERS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub transfers: u32,
    /// Loads at once; each has a database connection of its own
    #[arg(long, env = "WORKER_LOADS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub loads: u32,
    /// Seconds to finish running stages after SIGTERM before they are handed back
    #[arg(long, env = "WORKER_GRACE_PERIOD", default_value = "25", value_parser = seconds)]
    pub grace_period: Duration,
}
