use bulkhead_worker::WorkerSettings;
use clap::Parser as _;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let settings = WorkerSettings::parse();
    if let Err(error) = bulkhead_shared::telemetry::start(&settings.log) {
        eprintln!("bulkhead-worker: {error:#}");
        return std::process::ExitCode::from(2);
    }
    match bulkhead_worker::run(settings).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulkhead-worker: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
