//! The server process: started by us, or found running because the bulkhead that started it was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as StdCommand;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Child;
use tokio::time::sleep;

use super::PostgresError;

const POLL: Duration = Duration::from_millis(10);

/// How the server is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Disconnects everyone, rolls their work back, and writes a checkpoint.
    Fast,
    /// As if the power failed, but for the operating system's caches: the next start recovers from the log.
    Immediate,
}

#[derive(Debug)]
pub(super) enum Postmaster {
    Child(Child),
    Adopted { pid: Pid, pgdata: PathBuf },
}

impl Postmaster {
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Child(child) => child.id().and_then(|id| Pid::from_raw(id.cast_signed())),
            Self::Adopted { pid, .. } => Some(*pid),
        }
    }

    pub fn signal(&self, how: Shutdown) {
        let signal = match how {
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        };
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal); // fails only where it has ended already
        }
    }

    pub fn has_ended(&mut self) -> bool {
        match self {
            Self::Child(child) => !matches!(child.try_wait(), Ok(None)),
            // A postmaster removes its file as its last act; the process may stay as a zombie that nobody reaps.
            Self::Adopted { pid, pgdata } => test_kill_process(*pid).is_err() || PidFile::read(pgdata).is_none_or(|file| file.pid != *pid),
        }
    }

    pub async fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.has_ended() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(POLL).await;
        }
        true
    }

    /// Waits for `ready`; returns the folder of the socket, or `None` where the server ended instead.
    pub async fn ready_within(&mut self, limit: Duration, pgdata: &Path) -> Result<Option<PathBuf>, Timeout> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(file) = PidFile::read(pgdata)
                && Some(file.pid) == self.pid()
                && let Some(socket_folder) = file.ready_at
            {
                return Ok(Some(socket_folder));
            }
            if self.has_ended() {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(Timeout);
            }
            sleep(POLL).await;
        }
    }

    /// The live server of this data folder, if there is one.
    pub fn find(pgdata: &Path) -> Result<Option<Self>, PostgresError> {
        let Some(file) = PidFile::read(pgdata) else { return Ok(None) };
        if test_kill_process(file.pid).is_err() {
            return Ok(None); // the server sees that by itself, and makes sure that no child of the old one lives
        }
        if is_postmaster_of(file.pid, pgdata) {
            return Ok(Some(Self::Adopted { pid: file.pid, pgdata: pgdata.into() }));
        }
        PidFile::disown(pgdata)?;
        Ok(None)
    }
}

#[derive(Debug)]
pub(super) struct Timeout;

/// postmaster.pid: pid, data folder, start time, port, socket folder, listen address, shared memory, status.
struct PidFile {
    pid: Pid,
    ready_at: Option<PathBuf>,
}

impl PidFile {
    fn path(pgdata: &Path) -> PathBuf {
        pgdata.join("postmaster.pid")
    }

    fn read(pgdata: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::path(pgdata)).ok()?;
        let lines: Vec<_> = text.lines().collect();
        let pid = Pid::from_raw(lines.first()?.trim().parse().ok()?)?;
        let ready = lines.get(7).is_some_and(|status| status.trim() == "ready");
        Some(Self { pid, ready_at: ready.then(|| PathBuf::from(lines[4])) })
    }

    /// After a crash of the machine (or the restart of a container) the number may belong to another program, and
    /// the server would refuse to start. It takes its parent's number, ours, as stale. Removing the file instead
    /// would also remove the key by which the server detects surviving children of the old one.
    fn disown(pgdata: &Path) -> Result<(), PostgresError> {
        let path = Self::path(pgdata);
        let text = fs::read_to_string(&path).map_err(PostgresError::io("read", &path))?;
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        fs::write(&path, format!("{}\n{rest}", std::process::id())).map_err(PostgresError::io("write", &path))
    }
}

/// Where a live server of this data folder listens.
pub(super) fn socket_folder_of_running(pgdata: &Path) -> Option<PathBuf> {
    let file = PidFile::read(pgdata)?;
    is_postmaster_of(file.pid, pgdata).then_some(file.ready_at).flatten()
}

/// A server works inside its data folder; where there is no /proc, its command line names it.
fn is_postmaster_of(pid: Pid, pgdata: &Path) -> bool {
    let pid = pid.as_raw_nonzero().to_string();
    if Path::new("/proc/self/cwd").exists() {
        return fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == pgdata);
    }
    let output = StdCommand::new("ps").args(["-ww", "-o", "command=", "-p", &pid]).output();
    output.is_ok_and(|output| {
        let command = String::from_utf8_lossy(&output.stdout);
        command.contains("postgres") && command.contains(&*pgdata.to_string_lossy())
    })
}
