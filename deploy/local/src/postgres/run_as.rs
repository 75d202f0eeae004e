//! Whose name the server runs under: Postgres refuses root.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};

use tokio::process::Command;

use super::PostgresError;

/// Nobody in particular (we are an ordinary user), or whom root steps down to.
#[derive(Debug, Clone)]
pub(super) struct RunAs(Option<User>);

#[derive(Debug, Clone)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl RunAs {
    pub const OURSELVES: Self = Self(None);

    /// As root: the owner of the existing data, else `postgres`, else `nobody`.
    pub fn for_data(pgdata: &Path) -> Result<Self, PostgresError> {
        if !rustix::process::getuid().is_root() {
            return Ok(Self::OURSELVES);
        }
        let user = match fs::metadata(pgdata) {
            Ok(data) if data.uid() == 0 => return Err(PostgresError::NotOurs(pgdata.into())),
            Ok(data) => User { name: format!("#{}", data.uid()), uid: data.uid(), gid: data.gid() },
            Err(_) => User::named("postgres").or_else(|| User::named("nobody")).ok_or(PostgresError::NoServerUser)?,
        };
        Ok(Self(Some(user)))
    }

    /// The uid that files of the server have.
    pub fn uid(&self) -> u32 {
        self.0.as_ref().map_or_else(|| rustix::process::getuid().as_raw(), |user| user.uid)
    }

    /// A command under this name, away from a working folder that this name may not be allowed to see.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null());
        if let Some(user) = &self.0 {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    pub fn give(&self, path: &Path) -> Result<(), PostgresError> {
        let Some(user) = &self.0 else { return Ok(()) };
        chown(path, Some(user.uid), Some(user.gid)).map_err(PostgresError::io("change the owner of", path))
    }

    /// Every folder down to `path` must be one that the server's user may enter. Asked of the kernel rather than
    /// read from the mode bits, so that access lists count.
    pub async fn require_reach(&self, path: &Path) -> Result<(), PostgresError> {
        let Some(user) = &self.0 else { return Ok(()) };
        let mut folders: Vec<_> = path.ancestors().collect();
        folders.reverse();
        let shell = Path::new("/bin/sh");
        let script = r#"n=0; for folder; do [ -x "$folder" ] || exit $((n + 10)); n=$((n + 1)); done"#;
        let status = self.command(shell).args(["-c", script, "sh"]).args(&folders).status().await;
        match status.map_err(PostgresError::spawn(shell))?.code() {
            Some(0) => Ok(()),
            code => {
                let refused = usize::try_from(code.unwrap_or(0) - 10).ok().and_then(|index| folders.get(index));
                Err(PostgresError::Unreachable { folder: refused.copied().unwrap_or(path).into(), user: user.name.clone() })
            }
        }
    }
}

impl User {
    /// `id` rather than /etc/passwd: it also knows users from a directory service.
    fn named(name: &str) -> Option<Self> {
        let id = |flag| {
            let output = StdCommand::new("id").args([flag, name]).stderr(Stdio::null()).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        Some(Self { name: name.into(), uid: id("-u")?, gid: id("-g")? })
    }
}
