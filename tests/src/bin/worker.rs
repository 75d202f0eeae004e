//! A real worker process for the tests.

use bulkhead_worker::WorkerSettings;
use clap::Parser as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A test that is killed leaves no worker behind.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let settings = WorkerSettings::parse();
    bulkhead_shared::telemetry::start(&settings.log)?;
    bulkhead_worker::run(settings).await
}
