//! `bulkhead-sandbox`: the sandbox as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bulkhead_sandbox::{Fault, Generated, Preset, Sandbox, SandboxConfig, duration};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// A FHIR Bulk Data server to test and to show with. Not for production.
///
/// It serves the eight Groups of the usage guide (1,000 made-up patients) under /fhir, speaks SMART Backend
/// Services under /auth, and is controlled under /sandbox.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Demand a SMART Backend Services token (GET /sandbox/config makes a client)
    #[arg(long)]
    auth: bool,

    /// Seed of the made-up patients: the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Multiply the patients of the eight Groups
    #[arg(long, default_value_t = 1.0)]
    scale: f64,

    /// Serve a folder of NDJSON or NDJSON.gz as a Group called NAME, else like the folder; may be repeated
    #[arg(long, value_name = "[NAME=]DIR", value_parser = parse_data)]
    data: Vec<(String, PathBuf)>,

    /// Serve a file that is made on the fly, like big=Observation:2GB; ":plain" for one that is never packed; may be repeated
    #[arg(long = "generate", value_name = "GROUP=TYPE:SIZE")]
    generated: Vec<Generated>,

    /// Keep exports, clients, tokens and counts in this file, over kills too
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Arm a fault, <where>:<what>[=<arg>][*<times>][@<part of the path>], like file:drop=1000*2@Condition; may be repeated
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,

    /// How long an export takes
    #[arg(long, default_value = "300ms", value_name = "TIME", value_parser = duration)]
    export_time: Duration,

    /// Retry-After of a status answer, in seconds, or "none"
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = parse_retry_after)]
    retry_after: RetryAfter,

    /// How long an access token lives
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration)]
    token_lifetime: Duration,

    /// Most resources in one file
    #[arg(long, default_value_t = 5_000, value_name = "COUNT")]
    resources_per_file: usize,

    /// How long an export and its files live after completion
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = duration)]
    expires: Duration,

    /// Behave as some real servers do, like no-total or method=get (the README lists them); may be repeated
    #[arg(long = "switch", value_name = "NAME[=VALUE]")]
    switches: Vec<String>,

    /// Play a server one meets: epic, cerner, bcda, hapi, azure, linuxforhealth, aws or dpc
    #[arg(long, value_name = "SERVER")]
    preset: Option<Preset>,

    /// Multiply the times of the preset
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pace: f64,
}

/// A name of its own, or clap would take `--retry-after` itself as optional.
#[derive(Debug, Clone, Copy)]
struct RetryAfter(Option<u64>);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line and no backtrace, whatever RUST_BACKTRACE says: these are a user's mistakes.
            eprintln!("bulkhead-sandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sandbox = Sandbox::start(SandboxConfig {
        listen: arguments.listen,
        seed: arguments.seed,
        auth: arguments.auth,
        export_time: arguments.export_time,
        retry_after: arguments.retry_after.0,
        token_lifetime: arguments.token_lifetime,
        resources_per_file: arguments.resources_per_file,
        data: arguments.data,
        generated: arguments.generated,
        state: arguments.state,
        scale: arguments.scale,
        expires: arguments.expires,
        switches: arguments.switches.join(" "),
        preset: arguments.preset,
        pace: arguments.pace,
    })?;
    for fault in arguments.faults {
        sandbox.fault(fault);
    }
    println!("Bulkhead sandbox, not for production: {}", sandbox.base_url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}

fn parse_data(text: &str) -> Result<(String, PathBuf), String> {
    if let Some((name, dir)) = text.split_once('=') {
        return Ok((name.to_owned(), PathBuf::from(dir)));
    }
    let dir = PathBuf::from(text);
    match dir.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok((name.to_owned(), dir)),
        None => Err("give the Group a name: NAME=DIR".to_owned()),
    }
}

fn parse_retry_after(text: &str) -> Result<RetryAfter, String> {
    if text == "none" {
        return Ok(RetryAfter(None));
    }
    let seconds = text.parse().map_err(|_| "write seconds, or none".to_owned())?;
    Ok(RetryAfter(Some(seconds)))
}
