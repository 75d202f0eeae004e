//! The API's settings.

use std::net::SocketAddr;

use bulkhead_shared::config::{DatabaseSettings, LogSettings, OutgoingSettings, RetrySettings, SecretSettings};
use clap::{Parser, ValueEnum};

fn listener(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not an address and a port; write for example 127.0.0.1:8001"))
}

/// Takes exports in over HTTP and tells how they are.
#[derive(Debug, Clone, Parser)]
#[command(name = "bulkhead-api", version)]
pub struct ApiSettings {
    #[command(flatten)]
    pub database: DatabaseSettings,
    #[command(flatten)]
    pub secrets: SecretSettings,
    #[command(flatten)]
    pub outgoing: OutgoingSettings,
    #[command(flatten)]
    pub retry: RetrySettings,
    #[command(flatten)]
    pub log: LogSettings,
    /// Addresses and ports to listen on, comma-separated
    #[arg(long, env = "API_LISTEN", value_delimiter = ',', default_value = "127.0.0.1:8001,127.0.0.1:8002", value_parser = listener)]
    pub listen: Vec<SocketAddr>,
    /// Addresses and ports of the web pages, comma-separated; the API answers there too
    #[arg(long, env = "PAGES_LISTEN", value_delimiter = ',', default_value = "127.0.0.1:3000", value_parser = listener)]
    pub pages_listen: Vec<SocketAddr>,
    /// Host names (without port) this server answers to, comma-separated; localhost and its own addresses always work
    #[arg(long, env = "API_ALLOWED_HOSTS", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Who may call: `open` lets everybody who reaches the port. Needed to listen beyond loopback
    #[arg(long, env = "API_AUTH", value_enum)]
    pub auth: Option<ApiAuth>,
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApiAuth {
    /// Not at all
    Open,
}

impl ApiSettings {
    /// Listening beyond loopback without any authentication is a decision, never an accident.
    pub fn check_listeners(&self) -> anyhow::Result<()> {
        let api = self.listen.iter().map(|address| ("API_LISTEN", address));
        let pages = self.pages_listen.iter().map(|address| ("PAGES_LISTEN", address));
        match api.chain(pages).find(|(_, address)| !address.ip().is_loopback()) {
            Some((setting, address)) if self.auth != Some(ApiAuth::Open) => anyhow::bail!(
                "{setting} has {address}, which others can reach, and this version of the API asks nobody for a password; \
                 listen on 127.0.0.1, or set API_AUTH=open if its network is private"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &[&str]) -> ApiSettings {
        let base = ["bulkhead-api", "--database-url", "postgres://localhost/x"];
        ApiSettings::try_parse_from(base.iter().chain(arguments)).unwrap()
    }

    #[test]
    fn both_ports_of_the_guide_are_the_default() {
        let ports: Vec<u16> = settings(&[]).listen.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [8001, 8002]);
        assert_eq!(settings(&[]).pages_listen, ["127.0.0.1:3000".parse().unwrap()]);
    }

    #[test]
    fn listening_beyond_loopback_must_be_wanted() {
        assert!(settings(&["--listen", "127.0.0.1:1,[::1]:2"]).check_listeners().is_ok());
        assert!(settings(&["--listen", "0.0.0.0:1"]).check_listeners().is_err());
        assert!(settings(&["--pages-listen", "0.0.0.0:1"]).check_listeners().is_err());
        assert!(settings(&["--listen", "0.0.0.0:1", "--auth", "open"]).check_listeners().is_ok());
    }
}
