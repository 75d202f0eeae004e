//! Who may call. The listeners need no password, so a web page must not be able to reach them through its reader's
//! browser: neither by pointing its own name at us (DNS rebinding) nor by sending forms (CSRF).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::Response,
};

use crate::{
    ApiState,
    problem::{Kind, Problem},
};

/// The names this server answers to: loopback's always, its listeners' addresses, and those an operator allows.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    addresses: Vec<IpAddr>,
    /// A listener on all addresses: any address may be ours. A name is what rebinding needs, an address is safe.
    any_address: bool,
    names: Vec<String>,
}

impl Hosts {
    /// For these listeners and these further host names (without port).
    #[must_use]
    pub fn new(listen: &[SocketAddr], names: &[String]) -> Self {
        Self {
            addresses: listen.iter().map(SocketAddr::ip).collect(),
            any_address: listen.iter().any(|address| address.ip().is_unspecified()),
            names: names.iter().map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect(),
        }
    }

    fn allow(&self, authority: &str) -> bool {
        let host = host_of(authority).trim_end_matches('.').to_ascii_lowercase();
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return address.is_loopback() || self.any_address || self.addresses.contains(&address) || self.names.contains(&host);
        }
        host == "localhost" || host.ends_with(".localhost") || self.names.contains(&host)
    }
}

/// The host of `host[:port]`; an IPv6 address keeps its brackets.
fn host_of(authority: &str) -> &str {
    let end = authority.find(']').map_or_else(|| authority.find(':'), |bracket| Some(bracket + 1));
    &authority[..end.unwrap_or(authority.len())]
}

/// Refuses requests for other names (421), and changes that another site's page asks for (403).
pub async fn guard(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Result<Response, Problem> {
    let authority = authority(request.uri(), request.headers());
    // A browser always names the host; HTTP/1.0 clients need not.
    if let Some(authority) = &authority
        && !state.hosts.allow(authority)
    {
        return Err(Problem::new(
            Kind::WrongHost,
            "Call it as localhost or by its address, or add the host's name to API_ALLOWED_HOSTS and restart.",
        ));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // Browsers say where a request comes from also where they leave the Origin out. `none`: its reader typed the address.
    let site = request.headers().get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes);
    if changes && site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err(Problem::new(
            Kind::CrossOrigin,
            "The request comes from a page of another origin (its Sec-Fetch-Site header says so). Call the API from a program, or from its own pages.",
        ));
    }
    if changes && let Some(origin) = request.headers().get(header::ORIGIN) {
        let ours = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
        if ours.is_none() || ours.map(str::to_ascii_lowercase) != authority.map(|a| a.to_ascii_lowercase()) {
            return Err(Problem::new(
                Kind::CrossOrigin,
                "The request comes from a page of another origin (its Origin header says so). Call the API from a program, or from its own pages.",
            ));
        }
    }
    Ok(next.run(request).await)
}

/// `host[:port]` as the client wrote it: in the Host header, or in the URI of HTTP/2.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(host) = headers.get(header::HOST) {
        // Not text: no name we answer to.
        return Some(host.to_str().unwrap_or("?").to_owned());
    }
    uri.authority().map(|authority| authority.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_own_addresses_and_allowed_names_pass() {
        let hosts = Hosts::new(&["127.0.0.1:8001".parse().unwrap(), "10.1.2.3:80".parse().unwrap()], &["etl.example.org".to_owned()]);
        for host in
            ["localhost:8001", "LOCALHOST", "127.0.0.1:9", "127.9.9.9", "[::1]:8001", "x.localhost", "10.1.2.3", "etl.example.org:443"]
        {
            assert!(hosts.allow(host), "{host}");
        }
        for host in ["evil.example.org:8001", "10.1.2.4", "localhost.evil.org", "127.0.0.1.evil.org", "", "[::2]:8001"] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_answers_to_any_address_but_to_no_other_name() {
        let hosts = Hosts::new(&["0.0.0.0:8001".parse().unwrap()], &[]);
        assert!(hosts.allow("192.168.1.5:8001"));
        assert!(!hosts.allow("evil.example.org"));
    }
}
