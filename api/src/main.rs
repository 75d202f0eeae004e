#[tokio::main]
async fn main() -> std::process::ExitCode {
    bulkhead_api::command::program().await
}
