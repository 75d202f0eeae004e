//! The service's life: checks, listeners, and an orderly end.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bulkhead_shared::db::{self, users};
use sqlx::postgres::PgPoolOptions;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::{ApiSettings, ApiState, Hosts, pages_router, router, story};

/// Nothing here holds a connection for longer than a statement or a short transaction.
pub const CONNECTIONS: u32 = 12;
/// Shorter than the guide's script waits for a status (10 s): it shall read why.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Requests under way get this long to end.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(settings: ApiSettings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let state = state(&settings).await?;
    if let Some(warning) = settings.check_listeners(users::anybody(&state.pool).await?)? {
        tracing::warn!("{warning}");
    }
    let listeners = bind("API_LISTEN", &settings.listen).await?;
    let pages = bind("PAGES_LISTEN", &settings.pages_listen).await?;
    let stopping = state.stopping.clone();
    let story = tokio::spawn(story::log(state.pool.clone(), stopping.clone()));
    tracing::info!(listen = %addresses(&listeners), pages = %addresses(&pages), "the API and the pages serve");
    let mut servers = JoinSet::new();
    start(&mut servers, listeners, &router(state.clone()), &state);
    start(&mut servers, pages, &pages_router(state.clone()), &state);

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Some(ended) = servers.join_next() => ended.context("a listener broke")??,
    }
    tracing::info!("stopping: requests under way are answered");
    stopping.cancel();
    let drained = tokio::time::timeout(GRACE, async {
        while servers.join_next().await.is_some() {}
        let _ = story.await;
    });
    if drained.await.is_err() {
        tracing::warn!("some requests took too long and were dropped");
    }
    Ok(())
}

async fn state(settings: &ApiSettings) -> anyhow::Result<ApiState> {
    let url = &settings.database.database_url;
    let cipher = settings.secrets.cipher()?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(db::options(url, "bulkhead-api")?);
    db::check_connection(&pool, url).await?;
    db::check_version(&pool).await?;
    let state = ApiState::new(pool, cipher, settings.outgoing.rules(), settings.retry.retry_max_attempts);
    let listen = [&settings.listen[..], &settings.pages_listen].concat();
    Ok(ApiState { hosts: Hosts::new(&listen, &settings.allowed_hosts), access: settings.access(), ..state })
}

async fn bind(setting: &str, addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(TcpListener::bind(address).await.map_err(|error| in_words(setting, *address, &error))?);
    }
    Ok(listeners)
}

fn in_words(setting: &str, address: SocketAddr, error: &std::io::Error) -> anyhow::Error {
    let (ip, port) = (address.ip(), address.port());
    match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {port} of {ip} is taken by another program; stop that one (`lsof -i :{port}` names it), or choose other ports with {setting}"
        ),
        ErrorKind::PermissionDenied => anyhow::anyhow!("port {port} of {ip} is not ours to open; choose one above 1023 with {setting}"),
        ErrorKind::AddrNotAvailable => anyhow::anyhow!("{ip} is not an address of this machine; correct {setting}"),
        _ => anyhow::anyhow!("cannot listen on {address}: {error}; choose other addresses with {setting}"),
    }
}

fn start(servers: &mut JoinSet<std::io::Result<()>>, listeners: Vec<TcpListener>, app: &axum::Router, state: &ApiState) {
    for listener in listeners {
        let stopping = state.stopping.clone();
        let server = axum::serve(listener, app.clone().into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(stopping.cancelled_owned());
        servers.spawn(async move { server.await });
    }
}

/// Where they listen: of port 0, the port that was given.
fn addresses(listeners: &[TcpListener]) -> String {
    let known = listeners.iter().filter_map(|listener| listener.local_addr().ok());
    known.map(|address| format!("http://{address}")).collect::<Vec<_>>().join(", ")
}
