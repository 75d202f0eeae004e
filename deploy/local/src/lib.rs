//! Bulkhead on one machine: an embedded Postgres, the API, two worker processes, a command line.

pub mod child;
pub mod cli;
pub mod client;
pub mod data_dir;
pub mod demo;
pub mod export;
pub mod postgres;
pub mod progress;
pub mod show;
pub mod stack;
