//! `bulkhead-api health`: asks the server of this machine whether it is ready, for supervisors of images that have no curl.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::settings::listener;

const PATIENCE: Duration = Duration::from_secs(4);

/// Asks the server of this machine whether it is ready
#[derive(Debug, Clone, Args)]
pub struct HealthSettings {
    /// Addresses and ports it listens on, comma-separated; the first is asked
    #[arg(long, env = "API_LISTEN", value_delimiter = ',', default_value = "127.0.0.1:8001", value_parser = listener)]
    pub listen: Vec<SocketAddr>,
}

/// Where a listener is reached from its own machine.
fn near(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// An error unless it is ready.
pub async fn run(settings: &HealthSettings) -> anyhow::Result<()> {
    let address = near(*settings.listen.first().context("API_LISTEN is empty")?);
    #[expect(clippy::disallowed_methods, reason = "it asks its own machine, at an address of its own settings")]
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer = client.get(format!("http://{address}/health/ready")).send().await.with_context(|| format!("{address} does not answer"))?;
    if !answer.status().is_success() {
        bail!("{address} answers {}", answer.status());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        let of = |listener: &str| near(listener.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:8001"), "127.0.0.1:8001");
        assert_eq!(of("[::]:8001"), "[::1]:8001");
        assert_eq!(of("192.0.2.1:8001"), "192.0.2.1:8001");
    }
}
