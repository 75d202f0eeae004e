//! A server for one test process: in memory, without fsync, gone with the process.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access, statvfs};
use uuid::Uuid;

use super::{Options, Postgres, PostgresError};

/// A container's /dev/shm is often 64 MB, which one server fills.
const ENOUGH_MEMORY: u64 = 512 << 20;

/// `$1` is the folder. The read ends when the test process ends, however it ends: a server in a `static`, which is
/// never dropped, goes too.
const WATCH: &str = r#"
read -r _
pid=$(head -n 1 "$1/postgres/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
tries=50
while [ -e "$1/postgres/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null && [ $tries -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
done
rm -rf "$1"
"#;

impl Postgres {
    /// A server in a folder of its own under /dev/shm (the temporary folder where that is absent or small), with
    /// fsync off. Folder and server go with the value, and at the latest with this process.
    ///
    /// For many databases migrate one, and copy it with [`Postgres::create_database`].
    pub async fn start_for_tests() -> Result<Self, PostgresError> {
        let folder = Scratch::new()?;
        let options = Options { durable: false, max_connections: 300, ..Options::default() };
        let mut postgres = Self::start(&folder.path, options).await?;
        postgres.scratch = Some(folder);
        Ok(postgres)
    }
}

/// A folder with a process that removes it when this one ends.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    watch: Child,
}

impl Scratch {
    fn new() -> Result<Self, PostgresError> {
        let name = format!("bulkhead-test-{}-{}", std::process::id(), &Uuid::new_v4().simple().to_string()[..8]);
        let path = memory().join(name);
        fs::create_dir(&path).map_err(PostgresError::io("make", &path))?;
        let watch = watch(&path).map_err(PostgresError::spawn(Path::new("/bin/sh")))?;
        Ok(Self { path, watch })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// In a group of its own, so that Ctrl-C does not end it before its work; without our output, so that whoever reads
/// that to its end does not wait for it.
fn watch(path: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", WATCH, "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let roomy = statvfs(memory).is_ok_and(|disk| disk.f_bavail * disk.f_frsize >= ENOUGH_MEMORY);
    if roomy && access(memory, Access::WRITE_OK).is_ok() { memory.into() } else { std::env::temp_dir() }
}
