//! Which Postgres to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::{PostgresError, Programs, fetch};

/// The oldest release that still gets fixes.
pub(super) const OLDEST: u32 = 14;

/// A folder with `postgres` and `initdb` that were seen to run.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    folder: PathBuf,
    pub major: u32,
}

impl Binaries {
    /// The newest installed, or exactly `wanted`, the version that made the existing data. Places are looked at in
    /// the order of their cost; the last one, npm, is a download.
    pub async fn find(programs: &Programs, wanted: Option<u32>, notify: fn(&str)) -> Result<Self, PostgresError> {
        match programs {
            Programs::Folder(folder) => Self::probe(folder).await.ok_or(PostgresError::NotInstalled)?.checked(wanted),
            Programs::Npm => Self::fetched(notify).await?.checked(wanted),
            Programs::Installed => Self::installed_or_fetched(wanted, notify).await,
        }
    }

    async fn installed_or_fetched(wanted: Option<u32>, notify: fn(&str)) -> Result<Self, PostgresError> {
        let mut refusal = None;
        for place in [system_folders(), path_folders(), pg_config_folder().await, fetch::cached()] {
            let mut best: Option<Self> = None;
            for folder in place {
                let Some(found) = Self::probe(&folder).await else { continue };
                match found.checked(wanted) {
                    Ok(found) if best.as_ref().is_none_or(|best| best.major < found.major) => best = Some(found),
                    Ok(_) => {}
                    Err(refused) => refusal = Some(refused),
                }
            }
            if let Some(best) = best {
                return Ok(best);
            }
        }
        match wanted {
            Some(made_by) if made_by != fetch::MAJOR => Err(refusal.unwrap_or(PostgresError::OtherVersion { made_by })),
            _ => Self::fetched(notify).await,
        }
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `postgres --version`: a binary for another C library or processor is as good as none.
    pub async fn probe(folder: &Path) -> Option<Self> {
        let postgres = folder.join("postgres");
        if !postgres.is_file() || !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(postgres).arg("--version").stderr(Stdio::null()).output().await.ok()?;
        let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder: folder.into(), major })
    }

    async fn fetched(notify: fn(&str)) -> Result<Self, PostgresError> {
        let folder = fetch::fetch(notify).await?;
        let reason = || format!("{} does not run on this machine", folder.join("postgres").display());
        Self::probe(&folder).await.ok_or_else(|| PostgresError::Fetch { reason: reason() })
    }

    fn checked(self, wanted: Option<u32>) -> Result<Self, PostgresError> {
        match wanted {
            Some(made_by) if made_by != self.major => Err(PostgresError::OtherVersion { made_by }),
            _ if self.major < OLDEST => Err(PostgresError::TooOld { folder: self.folder, version: self.major }),
            _ => Ok(self),
        }
    }
}

/// `postgres (Postgres) 15.14 (Debian 15.14-0+deb12u1)` -> 15, `postgres (Postgres) 18beta1` -> 18.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split(") ").nth(1)?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

/// Debian, Red Hat, Homebrew on either processor, Postgres.app.
fn system_folders() -> Vec<PathBuf> {
    let places = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
        ("/Applications/Postgres.app/Contents/Versions", ""),
    ];
    places.into_iter().flat_map(|(parent, prefix)| folders_in(Path::new(parent), prefix)).map(|f| f.join("bin")).collect()
}

pub(super) fn folders_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).collect()
}

pub(super) fn path_folders() -> Vec<PathBuf> {
    super::env("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

async fn pg_config_folder() -> Vec<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().await;
    let folder = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    folder.map(|folder| PathBuf::from(folder.trim())).into_iter().collect()
}

/// `psql` beside the server, else the one on the PATH: the npm package brings none.
pub(super) fn find_psql(binaries: &Binaries) -> Option<PathBuf> {
    let folders = [binaries.folder.clone()].into_iter().chain(path_folders());
    folders.map(|folder| folder.join("psql")).find(|psql| psql.is_file())
}

#[cfg(test)]
mod tests {
    use super::parse_major;

    #[test]
    fn reads_the_major_version_of_releases_and_betas() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(parse_major("something else"), None);
    }
}
