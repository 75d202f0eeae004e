//! What must survive a kill of the sandbox, as one small JSON file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stats::Stats;
use crate::wish::Wish;

/// One export as its client asked for it. Its files follow from this and the seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    pub id: String,
    /// The kick-off URL, for the manifest's `request`.
    pub request: String,
    /// `None` at system and at Patient level.
    pub group: Option<String>,
    #[serde(flatten)]
    pub wish: Wish,
    pub created: DateTime<Utc>,
    pub ready: DateTime<Utc>,
    /// After this the status URL and the files answer 410.
    pub expires: DateTime<Utc>,
}

/// A registered backend service (SMART App Launch 2.2, "Registering a SMART Backend Service").
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    Jwks(Value),
    JwksUrl(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    pub client: String,
    #[serde(default)]
    pub scope: String,
    pub expires: DateTime<Utc>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub exports: BTreeMap<String, Export>,
    pub clients: BTreeMap<String, Client>,
    pub tokens: BTreeMap<String, Token>,
    /// Assertions seen, as `client/jti`, until they expire, so that none is taken twice.
    pub assertions: BTreeMap<String, DateTime<Utc>>,
    /// Searches with more than one page, by the name their `next` links give them.
    pub searches: BTreeMap<String, String>,
    /// When a Group was last exported, by client and Group.
    pub exported: BTreeMap<String, DateTime<Utc>>,
    pub stats: Stats,
}

impl State {
    /// An absent file is a fresh sandbox.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read the state file {}", path.display())),
        };
        let mut state: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a sandbox's state file: delete it or name another with --state", path.display()))?;
        // Whoever was held or served is gone with the process that did it.
        state.stats.held = 0;
        state.stats.files_now = 0;
        Ok(state)
    }

    /// Writes beside the file and renames, so that a kill leaves the old state or the new one, never half of it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let beside = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self).context("the state is not JSON")?;
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, path))
            .with_context(|| format!("cannot write the state file {}", path.display()))
    }
}
