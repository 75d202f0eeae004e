//! The tests: one file a behaviour. Each is a sentence.

mod access;
mod accounts;
mod api;
mod authentication;
mod backup;
mod browser;
mod contract;
mod data_page;
mod discovery;
mod doors;
mod downloading;
mod duties;
mod export_page;
mod exports_list;
mod fault_walk;
mod hostile_lines;
mod hostile_servers;
mod http_table;
mod key_rotation;
mod keys;
mod kick_offs;
mod loading;
mod logins;
mod long_polls;
mod manifests;
mod many_files;
mod network;
mod new_export;
mod openapi;
mod operations;
mod operators_guide;
mod pages_access;
mod pages_events;
mod polls;
mod preflight;
mod presets;
mod programs;
mod queue;
mod queue_page;
mod reading_again;
mod real_data;
mod retrying_many;
mod search;
mod search_doubts;
mod search_trouble;
mod slowing_down;
mod sources_page;
mod troubleshooting;
mod turns;
mod walk;

use bulkhead_tests::{SandboxConfig, Setup};

/// A small open server with a few hundred patients' worth of nothing: quick, and real.
fn setup() -> Setup {
    Setup {
        sandbox: SandboxConfig { scale: 0.05, ..SandboxConfig::default() },
        workers: 1,
        settings: Vec::new(),
        own_postgres: false,
        program: env!("CARGO_BIN_EXE_bulkhead-test-worker"),
    }
}
