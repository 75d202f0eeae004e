//! The worker: claims stages and runs them. It serves no HTTP.

mod blob_key;
mod environment;
mod fhir;
mod housekeeping;
mod lease;
mod limits;
mod load;
mod polls;
mod process;
mod runner;
mod settings;
mod stages;
mod summary;
mod tickets;
mod work;

pub use process::run;
pub use settings::WorkerSettings;
