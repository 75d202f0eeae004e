//! The API's settings.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bulkhead_shared::config::{DatabaseSettings, LogSettings, OutgoingSettings, RetrySettings, SecretSettings, seconds};
use clap::Parser;
use ipnet::IpNet;

use crate::{Access, ApiAuth};

/// `127.0.0.1:8001`.
pub(crate) fn listener(text: &str) -> Result<SocketAddr, String> {
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
    /// Host names (without port) this server answers to, comma-separated; localhost and its own addresses always work. With one, callers are
    /// asked who they are
    #[arg(long, env = "API_ALLOWED_HOSTS", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Whether callers are asked who they are. Without it: not on loopback, and everywhere once others can reach this server (a
    /// listener beyond loopback, API_ALLOWED_HOSTS, API_TRUSTED_PROXIES); the pages always ask for a login
    #[arg(long, env = "API_AUTH", value_enum)]
    pub auth: Option<ApiAuth>,
    /// Seconds that a login may be left alone
    #[arg(long, env = "SESSION_IDLE", default_value = "28800", value_parser = seconds)]
    pub session_idle: Duration,
    /// Seconds that a login lasts, however much it is used
    #[arg(long, env = "SESSION_LIFETIME", default_value = "604800", value_parser = seconds)]
    pub session_lifetime: Duration,
    /// Addresses or networks of proxies before this server, comma-separated: their X-Forwarded-For is believed
    #[arg(long, env = "API_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
}

/// `10.0.0.0/8`, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is not an address or a network; write for example 10.0.0.0/8"))
}

impl ApiSettings {
    /// How callers are told apart with these settings.
    pub fn access(&self) -> Access {
        let outside = self.reachable().is_some();
        Access {
            api: self.auth.unwrap_or(if outside { ApiAuth::Required } else { ApiAuth::Open }),
            pages: self.auth.unwrap_or(ApiAuth::Required),
            session_idle: self.session_idle,
            session_lifetime: self.session_lifetime,
            trusted_proxies: self.trusted_proxies.clone(),
        }
    }

    /// By which setting, and how, others can reach this server: a listener beyond loopback, or one on loopback behind a proxy.
    fn reachable(&self) -> Option<(&'static str, String)> {
        let api = self.listen.iter().map(|address| ("API_LISTEN", *address));
        let pages = self.pages_listen.iter().map(|address| ("PAGES_LISTEN", *address));
        let beyond = api.chain(pages).find(|(_, address)| !address.ip().is_loopback());
        let named = || self.allowed_hosts.iter().find(|name| !name.trim().is_empty()).map(|name| ("API_ALLOWED_HOSTS", name.clone()));
        let proxied = || self.trusted_proxies.first().map(|proxy| ("API_TRUSTED_PROXIES", proxy.to_string()));
        beyond.map(|(setting, address)| (setting, address.to_string())).or_else(named).or_else(proxied)
    }

    /// Being reached by others without anybody who could log in is a decision, never an accident. `anybody`: there is a user or a token.
    /// What else the operator should know, in words.
    pub fn check_listeners(&self, anybody: bool) -> anyhow::Result<Option<String>> {
        let Some((setting, how)) = self.reachable() else { return Ok(None) };
        match self.auth {
            Some(ApiAuth::Open) => Ok(Some(format!(
                "API_AUTH=open: everybody who reaches this server ({setting} has {how}) may submit, read and delete exports without a login"
            ))),
            _ if anybody => Ok(None),
            Some(ApiAuth::Required) => Ok(Some(format!("nobody can log in yet: {FIRST}"))),
            None => anyhow::bail!(
                "{setting} has {how}: others can reach this server, and there is no user and no token yet. {FIRST}. Or set API_AUTH=required to \
                 start without; or listen on 127.0.0.1; or set API_AUTH=open if its network is private"
            ),
        }
    }
}

/// How somebody gets in at all.
const FIRST: &str =
    "make the first admin with `bulkhead-api users add NAME --role admin`, or a token with `bulkhead-api tokens add NAME --role operator`";

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
    fn loopback_is_open_and_its_pages_want_a_login() {
        let local = settings(&["--listen", "127.0.0.1:1,[::1]:2"]);
        assert_eq!((local.access().api, local.access().pages), (ApiAuth::Open, ApiAuth::Required));
        assert!(local.check_listeners(false).unwrap().is_none());
        let open = settings(&["--auth", "open"]).access();
        assert_eq!((open.api, open.pages), (ApiAuth::Open, ApiAuth::Open));
    }

    #[test]
    fn a_server_on_loopback_that_a_proxy_stands_before_is_no_longer_open() {
        for behind in [["--allowed-hosts", "etl.example.org"], ["--trusted-proxies", "10.0.0.1"]] {
            let unset = settings(&behind);
            assert_eq!(unset.access().api, ApiAuth::Required);
            assert!(unset.check_listeners(false).unwrap_err().to_string().contains(behind[1]));
            assert!(unset.check_listeners(true).unwrap().is_none());
        }
    }

    #[test]
    fn listening_beyond_loopback_without_anybody_who_could_log_in_must_be_wanted() {
        for outside in [["--listen", "0.0.0.0:1"], ["--pages-listen", "0.0.0.0:1"]] {
            let unset = settings(&outside);
            assert_eq!(unset.access().api, ApiAuth::Required);
            let refused = unset.check_listeners(false).unwrap_err().to_string();
            assert!(refused.contains("0.0.0.0:1") && refused.contains("users add"), "{refused}");
            assert!(unset.check_listeners(true).unwrap().is_none());
            let with = |auth: &str| settings(&[&outside[..], &["--auth", auth]].concat());
            assert!(with("required").check_listeners(false).unwrap().unwrap().contains("users add"));
            assert!(with("open").check_listeners(true).unwrap().unwrap().contains("without a login"));
        }
    }
}
