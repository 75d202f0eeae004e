//! Bulkhead on one machine: an embedded Postgres, the API, two worker processes, a command line.

pub mod check;
pub mod child;
pub mod cli;
mod client;
pub mod data_dir;
pub mod demo;
pub mod export;
mod first_admin;
pub mod postgres;
pub mod progress;
pub mod show;
pub mod stack;
