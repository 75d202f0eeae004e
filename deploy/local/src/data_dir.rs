//! The folder that holds everything of one machine.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bulkhead_shared::secrets::Cipher;

/// Where root keeps it when the working folder cannot be entered by the user that Postgres runs as.
const SYSTEM_FOLDER: &str = "/var/lib/bulkhead";

/// The folder and what is where in it.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The folder asked for, or `./data`; made if it is not there.
    pub fn open(wanted: Option<&Path>, embedded_postgres: bool) -> anyhow::Result<Self> {
        let root = match wanted {
            Some(wanted) => wanted.to_owned(),
            None => default_folder(embedded_postgres)?,
        };
        fs::create_dir_all(&root).with_context(|| format!("cannot make the data folder {}; pass another --data-dir", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("cannot use the data folder {}", root.display()))?;
        let dir = Self { root };
        for folder in [dir.blobs(), dir.logs()] {
            fs::create_dir_all(&folder)
                // Patients' data: nobody else's business, though Postgres' user must pass through the folder above.
                .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)))
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(dir)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether an embedded Postgres was made here.
    pub fn has_database(&self) -> bool {
        self.root.join("postgres/PG_VERSION").exists()
    }

    /// Downloaded files, until they are loaded.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("bulk")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What the demo's FHIR server remembers. It is there if a demo ran in this folder.
    pub fn sandbox_state(&self) -> PathBuf {
        self.root.join("sandbox.json")
    }

    /// The port of the demo's FHIR server.
    pub fn sandbox_port(&self) -> PathBuf {
        self.root.join("sandbox.port")
    }

    /// The key that seals secrets in the database: made once, readable by its owner only.
    pub fn secret_key(&self) -> anyhow::Result<PathBuf> {
        let path = self.root.join("secret.key");
        Cipher::make_file(&path)?;
        Ok(path)
    }
}

/// `./data`; but root's Postgres runs as another user, who must be able to enter every folder above.
fn default_folder(embedded_postgres: bool) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("cannot tell the working folder; pass --data-dir")?;
    let data = here.join("data");
    if !embedded_postgres || !rustix::process::geteuid().is_root() || data.ancestors().skip(1).all(is_open) {
        return Ok(data);
    }
    eprintln!("{} can be entered by root only, Postgres runs as another user: using {SYSTEM_FOLDER}", here.display());
    Ok(PathBuf::from(SYSTEM_FOLDER))
}

fn is_open(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
}
