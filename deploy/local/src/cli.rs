//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use bulkhead_api::ApiSettings;
use bulkhead_sandbox::{Sandbox, SandboxConfig};
use bulkhead_worker::WorkerSettings;
use clap::{Args, Parser, Subcommand};
use rustix::process::{Signal, set_parent_process_death_signal};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::{admin, check, client::Client, demo, export, show, stack};

/// Exports FHIR Groups from Bulk Data servers into Postgres, and never loses its place.
///
/// Without a command: the demo. Everything runs on this machine: an embedded Postgres, the HTTP API on 8001 and 8002,
/// the web pages on 3000, two worker processes.
#[derive(Debug, Parser)]
#[command(name = "bulkhead", version)]
pub struct Cli {
    #[command(flatten)]
    pub machine: Machine,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Where everything is on this machine.
#[derive(Debug, Clone, Args)]
pub struct Machine {
    /// Folder for the database, the downloaded files, the logs and the secret key [default: ./data]
    #[arg(long, env = "BULKHEAD_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Use this Postgres instead of an embedded one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// Worker processes
    #[arg(long, default_value_t = 2, global = true, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub workers: u8,
    /// Addresses of the HTTP API; commands ask the first
    #[arg(long, env = "API_LISTEN", default_value = "127.0.0.1:8001,127.0.0.1:8002", value_delimiter = ',', global = true)]
    pub api_listen: Vec<SocketAddr>,
    /// A token, where the API asks who calls; better set in the environment than given here, where others see it
    #[arg(long, env = "BULKHEAD_TOKEN", hide_env_values = true, global = true, value_parser = secret)]
    pub token: Option<SecretString>,
    /// Addresses of the web pages
    #[arg(long, env = "PAGES_LISTEN", default_value = "127.0.0.1:3000", value_delimiter = ',', global = true)]
    pub pages_listen: Vec<SocketAddr>,
}

#[expect(clippy::unnecessary_wraps, reason = "clap's signature")]
fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.into())
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Export the guide's eight Groups from a made-up FHIR server, then keep serving until Ctrl-C
    Demo {
        /// End when the Groups are loaded: exit code 0 if everything is there, 1 if not
        #[arg(long)]
        exit: bool,
        /// Port of the made-up FHIR server
        #[arg(long, default_value_t = 8090)]
        sandbox_port: u16,
    },
    /// Serve until Ctrl-C
    Up {
        /// Serve the demo's made-up FHIR server too, as where a demo ran
        #[arg(long)]
        sandbox: bool,
        /// Port of the made-up FHIR server
        #[arg(long, default_value_t = 8090)]
        sandbox_port: u16,
    },
    /// Export Groups, like the official client's command line
    Export(export::ExportArguments),
    /// Try what an export would need, step by step, without starting one: exit code 0 if nothing failed
    Check(check::CheckArguments),
    /// Show one export of the running service
    Status { job_id: Uuid },
    /// List the exports of the running service
    Jobs {
        /// Only these: queued, in-progress, downloading, loading, completed, failed or cancelled
        #[arg(long)]
        status: Option<String>,
    },
    /// Let a failed export go on where it stopped
    Retry { job_id: Uuid },
    /// Stop an export for good
    Cancel { job_id: Uuid },
    /// Make a new password for a user of this machine's web pages and print it; the user is logged out everywhere
    Password {
        #[arg(default_value = admin::NAME)]
        name: String,
    },
    #[command(hide = true)]
    ApiProcess,
    #[command(hide = true)]
    WorkerProcess,
    #[command(hide = true)]
    SandboxProcess {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        state: PathBuf,
    },
}

/// Runs a command.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let machine = cli.machine;
    match cli.command.unwrap_or(Command::Demo { exit: false, sandbox_port: 8090 }) {
        Command::Demo { exit, sandbox_port } => demo::run(&machine, exit, sandbox_port).await,
        Command::Up { sandbox, sandbox_port } => stack::up(&machine, sandbox, sandbox_port).await,
        Command::Export(arguments) => export::run(&machine, &arguments).await,
        Command::Check(arguments) => check::run(&machine, &arguments).await,
        Command::Status { job_id } => show::status(&client(&machine)?, job_id).await,
        Command::Jobs { status } => show::jobs(&client(&machine)?, status.as_deref()).await,
        Command::Retry { job_id } => show::operate(&client(&machine)?, job_id, "retry").await,
        Command::Cancel { job_id } => show::operate(&client(&machine)?, job_id, "cancel").await,
        Command::Password { name } => admin::new_password(&machine, &name).await,
        Command::ApiProcess => {
            end_with_parent();
            let settings = ApiSettings::parse_from(["bulkhead-api"]);
            bulkhead_shared::telemetry::start(&settings.log)?;
            bulkhead_api::serve(settings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::WorkerProcess => {
            end_with_parent();
            let settings = WorkerSettings::parse_from(["bulkhead-worker"]);
            bulkhead_shared::telemetry::start(&settings.log)?;
            bulkhead_worker::run(settings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::SandboxProcess { listen, state } => {
            end_with_parent();
            serve_sandbox(listen, state).await
        }
    }
}

fn client(machine: &Machine) -> anyhow::Result<Client> {
    let address = machine.api_listen.first().context("API_LISTEN names no address")?;
    Ok(Client::new(*address, machine.token.clone()))
}

/// A child goes when its parent goes, even by kill -9. Where the system has no such thing it stays until it is stopped.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
}

async fn serve_sandbox(listen: SocketAddr, state: PathBuf) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sandbox = Sandbox::start(SandboxConfig { listen, auth: true, state: Some(state), ..SandboxConfig::default() })?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(ExitCode::SUCCESS)
}
