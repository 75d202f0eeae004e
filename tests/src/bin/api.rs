//! The real program `bulkhead-api` for the tests, by another name.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    // A test that is killed leaves no service behind.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("Linux has it");
    bulkhead_api::command::program().await
}
