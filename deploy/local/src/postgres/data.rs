//! The folders: `postgres/` is PGDATA, `run/` holds the socket, `postgres.log` and `bulkhead.lock` lie beside them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::binaries::{Binaries, folders_in};
use super::error::tells_of_full_disk;
use super::run_as::RunAs;
use super::{PostgresError, SOCKET_NAME};

/// `sun_path` holds 108 bytes on Linux and 104 elsewhere, the last one zero.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const UNFINISHED: &str = "postgres.new-";

/// A data folder that is ours alone while this lives.
#[derive(Debug)]
pub(super) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder where it is missing, and locks it. The lock ends with our process, however it ends.
    pub fn open(path: &Path) -> Result<Self, PostgresError> {
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(PostgresError::io("make", path))?;
        let root = path.canonicalize().map_err(PostgresError::io("find", path))?;
        let lock_path = root.join("bulkhead.lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(PostgresError::io("open", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(PostgresError::InUse(root)),
            Err(error) => Err(PostgresError::io("lock", &lock_path)(error.into())),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn pgdata(&self) -> PathBuf {
        self.root.join("postgres")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    /// The major version that made the data; `None` where there is none yet.
    pub fn version(&self) -> Result<Option<u32>, PostgresError> {
        let path = self.pgdata().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(version) => Ok(version.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PostgresError::io("read", &path)(error)),
        }
    }

    /// Runs initdb beside the final place and renames: killed halfway, it leaves nothing that a later start trips over.
    pub async fn init(&self, binaries: &Binaries, user: &RunAs) -> Result<(), PostgresError> {
        for unfinished in folders_in(&self.root, UNFINISHED) {
            let _ = fs::remove_dir_all(unfinished);
        }
        let mut output = String::new();
        // C.UTF-8 is not everywhere (macOS before 15, old distributions).
        for locale in ["C.UTF-8", "C"] {
            let folder = self.root.join(format!("{UNFINISHED}{}", Uuid::new_v4().simple()));
            make_private(&folder, user)?;
            match initdb(binaries, user, &folder, locale).await? {
                Ok(()) => {
                    let pgdata = self.pgdata();
                    return fs::rename(&folder, &pgdata).map_err(PostgresError::io("make", &pgdata));
                }
                Err(failure) => output = failure,
            }
            let _ = fs::remove_dir_all(&folder);
            if tells_of_full_disk(&output) {
                return Err(PostgresError::DiskFull(self.root.clone()));
            }
        }
        Err(PostgresError::Initdb { folder: self.pgdata(), output })
    }

    /// `run/`, else a short folder under the temporary one, whose name follows from the data folder's.
    pub fn socket_folder(&self, user: &RunAs) -> Result<PathBuf, PostgresError> {
        let mut hasher = DefaultHasher::new();
        self.root.hash(&mut hasher);
        let short = format!("bulkhead-{:016x}", hasher.finish());
        let candidates = [self.root.join("run"), std::env::temp_dir().join(&short), Path::new("/tmp").join(&short)];
        // libpq separates hosts by commas, and a URL is text
        let fits = |folder: &&PathBuf| {
            folder.to_str().is_some_and(|text| !text.contains(',')) && folder.as_os_str().len() + 1 + SOCKET_NAME.len() <= SOCKET_PATH_LIMIT
        };
        for folder in candidates.iter().filter(fits) {
            make_private(folder, user)?;
            if is_private(folder, user) {
                return Ok(folder.clone());
            }
        }
        Err(PostgresError::NoSocketFolder(candidates[0].clone()))
    }

    /// For the server's output, and where in it this run begins.
    pub fn open_log(&self) -> Result<(File, u64), PostgresError> {
        let path = self.log();
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let log = log.map_err(PostgresError::io("open", &path))?;
        let start = log.metadata().map_err(PostgresError::io("read", &path))?.len();
        Ok((log, start))
    }

    /// The last lines that the server wrote after `start`, as one line.
    pub fn log_tail(&self, start: u64) -> String {
        let mut text = Vec::new();
        let read = File::open(self.log()).and_then(|mut log| {
            log.seek(SeekFrom::Start(start))?;
            log.take(64 * 1024).read_to_end(&mut text)
        });
        if let Err(error) = read {
            return error.to_string();
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(6).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

/// The outer result is ours, the inner one initdb's own words.
async fn initdb(binaries: &Binaries, user: &RunAs, folder: &Path, locale: &str) -> Result<Result<(), String>, PostgresError> {
    let program = binaries.program("initdb");
    let mut locale_argument = OsString::from("--locale=");
    locale_argument.push(locale);
    let output = user
        .command(&program)
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"])
        .arg(locale_argument)
        .arg("-D")
        .arg(folder)
        .process_group(0)
        .output()
        .await
        .map_err(PostgresError::spawn(&program))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    Ok(if output.status.success() { Ok(()) } else { Err(errors.trim().replace('\n', " | ")) })
}

fn make_private(folder: &Path, user: &RunAs) -> Result<(), PostgresError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => user.give(folder),
        // killed before giving it away
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_private(folder, &RunAs::OURSELVES) => user.give(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(PostgresError::io("make", folder)(error)),
    }
}

/// Anyone may have made a folder of that name in /tmp: not a link, ours, closed to others (the six lowest bits).
fn is_private(folder: &Path, user: &RunAs) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == user.uid() && found.mode().trailing_zeros() >= 6)
}

/// As one item of the list `unix_socket_directories`, where commas separate and quotes protect.
pub(super) fn quoted_for_list(folder: &Path) -> OsString {
    let text = String::from_utf8_lossy(folder.as_os_str().as_bytes()).replace('"', "\"\"");
    OsString::from(format!("\"{text}\""))
}
