//! What a user waits for, as medians of several runs: `cargo run --release -p bulkhead-tests --bin quality`.
//!
//! Needs the programs beside it: `cargo build --release --workspace` first.

use std::{path::PathBuf, process::Command, time::Instant};

use anyhow::{Context as _, ensure};
use bulkhead_tests::{App, SandboxConfig, Setup};

const RUNS: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let worker: &'static str = Box::leak(beside("bulkhead-test-worker")?.display().to_string().into_boxed_str());
    let bulkhead = beside("bulkhead")?;
    let mut recovery = Vec::new();
    let mut memory = Vec::new();
    let mut demo = Vec::new();
    for _ in 0..RUNS {
        recovery.push(kill_to_running(worker).await?);
        memory.push(peak_rss_mib(worker).await);
        demo.push(demo_seconds(&bulkhead)?);
    }
    println!("{:<58} {:>8} {:>8} {:>8}", format!("medians of {RUNS} runs"), "median", "least", "most");
    report("seconds from SIGKILL in download to the stage running again", recovery);
    report("MiB, peak RSS of one worker that loads the eight Groups", memory);
    report("seconds from the start of the demo to all Groups loaded", demo);
    Ok(())
}

fn report(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    println!("{what:<58} {:>8.1} {:>8.1} {:>8.1}", values[values.len() / 2], values[0], values[values.len() - 1]);
}

/// A program of the same build.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is not there; run `cargo build --release --workspace` first", path.display());
    Ok(path)
}

async fn kill_to_running(program: &'static str) -> anyhow::Result<f64> {
    let mut app = App::start(setup(program, 0.05)).await;
    app.sandbox.fault("file:hold=half@Observation");
    let job = app.export("BlueCrossBlueShield").await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.add_worker();
    let since = Instant::now();
    app.workers[0].kill();
    app.sandbox.release();
    app.until_sql("SELECT max(runs) >= 2 FROM bulkhead.stages WHERE export_id = $1 AND kind = 'download'", job).await;
    let seconds = since.elapsed().as_secs_f64();
    app.until(job, "completed").await;
    app.assert_rows_right(job, "BlueCrossBlueShield").await;
    Ok(seconds)
}

async fn peak_rss_mib(program: &'static str) -> f64 {
    let app = App::start(setup(program, 1.0)).await;
    let mut jobs = Vec::new();
    for (group, _, _) in bulkhead_sandbox::GROUPS {
        jobs.push(app.export(group).await);
    }
    for job in jobs {
        app.until(job, "completed").await;
    }
    #[expect(clippy::cast_precision_loss, reason = "kibibytes of one process")]
    let mib = app.workers[0].peak_rss_kib() as f64 / 1024.0;
    mib
}

fn setup(program: &'static str, scale: f64) -> Setup {
    let sandbox = SandboxConfig { scale, auth: true, ..SandboxConfig::default() };
    Setup { sandbox, workers: 1, settings: Vec::new(), own_postgres: false, program }
}

/// As the demo itself says: from its first instruction to the last row.
fn demo_seconds(bulkhead: &PathBuf) -> anyhow::Result<f64> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new().prefix("bulkhead-quality-").permissions(std::fs::Permissions::from_mode(0o755)).tempdir()?;
    let output = Command::new(bulkhead)
        .args(["--api-listen", "127.0.0.1:18001", "--pages-listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .args(["demo", "--exit", "--sandbox-port", "18090"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "the demo failed: {said}");
    let line = said.lines().find(|line| line.contains("s from start")).context("the demo does not say how long it took")?;
    line.split_whitespace().next().and_then(|n| n.parse().ok()).context("not a number of seconds")
}
