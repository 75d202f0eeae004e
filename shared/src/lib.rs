//! What `api` and `worker` share: the domain, the tables, the queue, and the doors to time, secrets and blobs.
//!
//! Dependencies point one way: `domain` <- `db` <- `queue`.

pub mod blob;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod queue;
pub mod secrets;
pub mod telemetry;
