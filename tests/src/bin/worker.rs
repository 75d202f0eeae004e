//! A real worker process for the tests.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    bulkhead_tests::worker::main().await
}
