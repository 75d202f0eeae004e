//! What all requests of one sandbox share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::config::SandboxConfig;
use crate::door;
use crate::faults::Faults;
use crate::outcome::Refused;
use crate::output::{self, OutputFile};
use crate::routes::Window;
use crate::state::{Export, State};
use crate::stats::Stats;
use crate::switches::Switches;
use crate::world::World;
use axum::http::StatusCode;

#[derive(Debug)]
pub struct App {
    pub config: SandboxConfig,
    pub switches: Switches,
    pub address: SocketAddr,
    /// The other origin, if files are there.
    pub storage: Option<SocketAddr>,
    pub world: World,
    pub faults: Faults,
    state: Mutex<State>,
    stats: watch::Sender<Stats>,
    releases: watch::Sender<u64>,
    window: Mutex<Window>,
    outputs: Mutex<HashMap<String, Arc<Vec<OutputFile>>>>,
    /// What a search found, by its name: the same for each page.
    found: Mutex<HashMap<String, Arc<Vec<Bytes>>>>,
}

impl App {
    pub fn new(config: SandboxConfig, switches: Switches, address: SocketAddr, storage: Option<SocketAddr>) -> Result<Self> {
        let world = World::new(&config, switches.data)?;
        let state = match &config.state {
            Some(path) => State::read(path)?,
            None => State::default(),
        };
        let counts = watch::Sender::new(state.stats.clone());
        Ok(Self {
            config,
            switches,
            address,
            storage,
            world,
            faults: Faults::default(),
            state: Mutex::new(state),
            stats: counts,
            releases: watch::Sender::new(0),
            window: Mutex::default(),
            outputs: Mutex::default(),
            found: Mutex::default(),
        })
    }

    /// `http://host:port` as the client knows it, for absolute URLs; behind a proxy that speaks TLS it says so.
    pub fn origin(&self, headers: &HeaderMap) -> String {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match text(header::HOST.as_str()) {
            Some(host) => format!("{}://{host}", text("x-forwarded-proto").unwrap_or("http")),
            None => self.own_origin(),
        }
    }

    /// `http://host:port` for somebody on this machine.
    pub fn own_origin(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    pub fn stats(&self) -> watch::Receiver<Stats> {
        self.stats.subscribe()
    }

    /// Counts something that need not survive a kill to the last one.
    pub fn count(&self, count: impl FnOnce(&mut Stats)) {
        self.stats.send_modify(count);
    }

    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state and its counts together. Both are on disk before anybody can see them.
    pub fn change<T>(&self, change: impl FnOnce(&mut State, &mut Stats) -> T) -> T {
        let mut state = self.lock();
        let now = door::now();
        let mut result = None;
        self.stats.send_modify(|stats| {
            state.tokens.retain(|_, token| token.expires > now);
            state.assertions.retain(|_, expires| *expires > now);
            result = Some(change(&mut state, stats));
            stats.exports = state.exports.len() as u64;
            state.stats = stats.clone();
            if let Some(path) = &self.config.state
                && let Err(error) = state.write(path)
            {
                tracing::error!("{error:#}");
            }
        });
        result.expect("send_modify calls its closure")
    }

    /// Holds a request until [`Self::release`]; a client that goes away ends it too.
    pub async fn hold(&self) {
        // Before it is counted, or a release right after the count would be missed.
        let mut releases = self.releases.subscribe();
        let _held = Held::new(&self.stats);
        let _ = releases.changed().await;
    }

    pub fn release(&self) {
        self.releases.send_modify(|times| *times += 1);
    }

    /// The export, unless it is unknown, deleted (404) or expired (410).
    pub fn export(&self, id: &str) -> Result<Export, Refused> {
        let export = self
            .read(|state| state.exports.get(id).cloned())
            .ok_or_else(|| Refused::not_found("There is no such export: it was deleted, or never was"))?;
        if export.expires <= door::now() {
            let text = "The export has expired: start a new one";
            return Err(Refused::new(StatusCode::GONE, "deleted", text));
        }
        Ok(export)
    }

    /// The files of an export, the same at each call.
    pub async fn output(self: &Arc<Self>, export: &Export) -> Arc<Vec<OutputFile>> {
        if let Some(output) = self.outputs().get(&export.id) {
            return output.clone();
        }
        let (app, wanted) = (self.clone(), export.clone());
        let made = tokio::task::spawn_blocking(move || {
            Arc::new(output::files(&app.world, &wanted, app.config.resources_per_file, app.switches.files.random_names))
        });
        let output = made.await.expect("listing files does not panic");
        self.outputs().insert(export.id.clone(), output.clone());
        output
    }

    pub fn forget_output(&self, id: &str) {
        self.outputs().remove(id);
    }

    /// What a search finds; nothing changes here, so once is enough.
    pub fn found(&self, name: &str, find: impl FnOnce() -> Vec<Bytes>) -> Arc<Vec<Bytes>> {
        let kept = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().get(name) {
            return found.clone();
        }
        let found = Arc::new(tokio::task::block_in_place(find));
        kept().insert(name.to_owned(), found.clone());
        found
    }

    /// So that its `next` links live on, over a restart too.
    pub fn keep_search(&self, name: &str, query: &str) {
        if !self.read(|state| state.searches.contains_key(name)) {
            self.change(|state, _| state.searches.insert(name.to_owned(), query.to_owned()));
        }
    }

    /// The requests of late.
    pub fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn expiry(&self, ready: DateTime<Utc>) -> DateTime<Utc> {
        later(ready, self.config.expires)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outputs(&self) -> MutexGuard<'_, HashMap<String, Arc<Vec<OutputFile>>>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `at` and so much later; a time too long for a calendar is a century.
pub fn later(at: DateTime<Utc>, by: std::time::Duration) -> DateTime<Utc> {
    let century = chrono::Duration::days(36_525);
    at + chrono::Duration::from_std(by).unwrap_or(century).min(century)
}

/// Counts a file that is being served as long as it lives.
pub struct Serving(Arc<App>);

impl Serving {
    pub fn new(app: &Arc<App>) -> Self {
        app.count(|stats| {
            stats.files_started += 1;
            stats.files_now += 1;
            stats.most_files_at_once = stats.most_files_at_once.max(stats.files_now);
        });
        Self(app.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.count(|stats| stats.files_now -= 1);
    }
}

/// Counts a held request as long as it lives.
struct Held<'a>(&'a watch::Sender<Stats>);

impl<'a> Held<'a> {
    fn new(stats: &'a watch::Sender<Stats>) -> Self {
        stats.send_modify(|stats| stats.held += 1);
        Self(stats)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|stats| stats.held -= 1);
    }
}
