//! Bulkhead on one machine: an embedded Postgres, the API, two worker processes, a command line.

mod admin;
pub mod check;
pub mod child;
pub mod cli;
mod client;
pub mod data_dir;
pub mod demo;
pub mod export;
pub mod postgres;
pub mod progress;
pub mod show;
pub mod stack;
