//! The handle on a running sandbox.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::app::App;
use crate::auth::credentials::{self, ClientCredentials};
use crate::config::SandboxConfig;
use crate::faults::Fault;
use crate::preset;
use crate::routes;
use crate::state::Client;
use crate::stats::Stats;
use crate::switches::{Bodies, Switches};
use crate::wire::{Wire, Wires};

/// A Bulk Data server in this process. It runs on threads of its own, so that stopping it is as sudden as a crash;
/// dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    app: Arc<App>,
    running: Mutex<Option<Runtime>>,
}

impl Sandbox {
    /// Starts to listen; when this returns, connections are accepted.
    pub fn start(mut config: SandboxConfig) -> Result<Self> {
        let faults = preset::apply(&mut config)?;
        let switches: Switches = config.switches.parse()?;
        let (listener, address) = bind(config.listen)?;
        let elsewhere = (switches.files.bodies != Bodies::Here).then(|| bind(SocketAddr::new(config.listen.ip(), 0))).transpose()?;
        let app = Arc::new(App::new(config, switches, address, elsewhere.as_ref().map(|(_, address)| *address))?);
        for fault in faults {
            app.faults.arm(fault);
        }
        let listeners = std::iter::once(listener).chain(elsewhere.map(|(listener, _)| listener));
        let running = Mutex::new(Some(serve(&app, listeners.collect())?));
        Ok(Self { app, running })
    }

    /// The FHIR base URL, like `http://127.0.0.1:8080/fhir`.
    pub fn base_url(&self) -> String {
        format!("{}/fhir", self.app.own_origin())
    }

    pub fn token_url(&self) -> String {
        format!("{}/auth/token", self.app.own_origin())
    }

    /// Closes the listener and every connection at once, like a crash. The state stays. Nothing happens if it is stopped.
    pub async fn stop(&self) {
        let running = self.take();
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = running {
                runtime.shutdown_timeout(Duration::from_secs(10));
            }
        });
        ended.await.expect("shutting down does not panic");
    }

    /// Listens again on the same port, with the same state and faults.
    pub async fn start_again(&self) -> Result<()> {
        self.stop().await;
        let addresses = std::iter::once(self.app.address).chain(self.app.storage);
        let listeners = addresses.map(|address| bind(address).map(|(listener, _)| listener)).collect::<Result<_>>()?;
        let runtime = serve(&self.app, listeners)?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        Ok(())
    }

    pub fn stats(&self) -> Stats {
        self.app.stats().borrow().clone()
    }

    /// Arms a fault, given as [`Fault`] or in the text form, like `"file:drop=1000*2@Condition"`.
    ///
    /// # Panics
    /// If the text is no fault.
    pub fn fault<F>(&self, fault: F)
    where
        F: TryInto<Fault>,
        F::Error: std::fmt::Debug,
    {
        self.app.faults.arm(fault.try_into().expect("a fault"));
    }

    /// Disarms all faults. Requests already held stay held.
    pub fn clear_faults(&self) {
        self.app.faults.clear();
    }

    /// Lets every held request go on.
    pub fn release(&self) {
        self.app.release();
    }

    /// Waits until the counts are as wanted, and gives them.
    ///
    /// # Panics
    /// After 60 seconds, telling the counts as they are.
    pub async fn wait_until(&self, wanted: impl FnMut(&Stats) -> bool) -> Stats {
        let mut stats = self.app.stats();
        let seen = tokio::time::timeout(Duration::from_mins(1), stats.wait_for(wanted)).await;
        match seen {
            Ok(Ok(seen)) => return seen.clone(),
            Ok(Err(_)) => unreachable!("the sandbox outlives its handle"),
            Err(_) => {}
        }
        panic!("not within 60 s; the sandbox counts {:#?}", self.stats())
    }

    /// Makes an RSA-2048 key and registers a client with its public half.
    pub fn register_client(&self) -> ClientCredentials {
        let key = credentials::make_key();
        let client_id = self.register_jwks(key.jwks());
        key.credentials(client_id, self.token_url())
    }

    /// Registers a client by a key set of the caller's own (an ES384 key, say) and gives its client id.
    pub fn register_jwks(&self, jwks: serde_json::Value) -> String {
        credentials::register(&self.app, Client::Jwks(jwks))
    }

    /// How many resources of each type an export without filters has: of one Group, or of all.
    pub fn expected(&self, group: Option<&str>) -> BTreeMap<String, u64> {
        expected(&self.app, group)
    }

    /// All lines of that type of that Group, as the files give them; empty for what is made while it is served.
    pub fn ndjson(&self, group: &str, kind: &str) -> Vec<u8> {
        let groups = self.app.world.scope(Some(group)).into_iter();
        groups.filter_map(|group| group.content().get(kind).map(|lines| lines.bytes().to_vec())).flatten().collect()
    }

    fn take(&self) -> Option<Runtime> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(runtime) = self.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn expected(app: &App, group: Option<&str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for group in app.world.scope(group) {
        for (kind, lines) in group.content().iter() {
            *counts.entry(kind.clone()).or_default() += lines.len() as u64;
        }
        for recipe in group.recipes() {
            *counts.entry(recipe.kind.as_str().to_owned()).or_default() += recipe.count;
        }
    }
    counts
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}: choose another address with --listen"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The first listener is the FHIR server, another one where the signed links lead.
fn serve(app: &Arc<App>, listeners: Vec<TcpListener>) -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sandbox")
        .enable_all()
        .build()
        .context("cannot start threads for the sandbox")?;
    for (router, listener) in [routes::router(app.clone()), routes::storage(app.clone())].into_iter().zip(listeners) {
        let listener = {
            let _inside = runtime.enter();
            Wires(tokio::net::TcpListener::from_std(listener)?)
        };
        let service = router.into_make_service_with_connect_info::<Wire>();
        runtime.spawn(async move { axum::serve(listener, service).await });
    }
    Ok(runtime)
}
