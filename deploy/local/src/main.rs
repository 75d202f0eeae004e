use std::process::ExitCode;

use bulkhead_local::cli::{self, Cli};
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            // One line that says what to do next; causes in the order of depth.
            eprintln!("bulkhead: {error:#}");
            ExitCode::FAILURE
        }
    }
}
