//! A child process that is started again when it ends unasked.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// How long a child may take to end by itself: a worker's grace period and a little.
const PATIENCE: Duration = Duration::from_secs(35);

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// For messages, and the name of its log.
    pub name: String,
    /// Arguments of this very program.
    pub arguments: Vec<String>,
    pub settings: Vec<(String, String)>,
    pub log: PathBuf,
}

/// Keeps one program running.
pub struct Supervised {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Program {
    fn spawn(&self) -> anyhow::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write the log {}", self.log.display()))?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        Command::new(program)
            .args(&self.arguments)
            .envs(self.settings.iter().cloned())
            // For this program's own calls only.
            .env_remove("BULKHEAD_TOKEN")
            // Ctrl-C in the terminal goes to the parent, which then ends its children in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))
    }

    /// Starts it and keeps it running.
    pub fn supervise(self) -> anyhow::Result<Supervised> {
        let first = self.spawn()?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(self, first, stop.clone()));
        Ok(Supervised { stop, task })
    }
}

async fn keep(program: Program, first: Child, stop: CancellationToken) {
    let mut child = first;
    loop {
        tokio::select! {
            ended = child.wait() => {
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                eprintln!("{} ended ({how}); it starts again. Its log: {}", program.name, program.log.display());
            }
            () = stop.cancelled() => return end(child).await,
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = stop.cancelled() => return,
            }
            match program.spawn() {
                Ok(again) => {
                    child = again;
                    break;
                }
                Err(error) => eprintln!("{error:#}; trying again"),
            }
        }
    }
}

/// SIGTERM, patience, SIGKILL.
async fn end(mut child: Child) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

impl Supervised {
    /// Ends it and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// The last line a program logged: why it ended.
pub fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it logged nothing").to_owned()
}
