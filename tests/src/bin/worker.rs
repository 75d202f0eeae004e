//! A real worker process for the tests.

use bulkhead_worker::WorkerSettings;
use clap::Parser as _;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    // A test that is killed leaves no worker behind.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("Linux has it");
    let settings = WorkerSettings::parse();
    bulkhead_shared::telemetry::start(&settings.log).expect("nothing logs yet");
    match bulkhead_worker::run(settings).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulkhead-worker: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
