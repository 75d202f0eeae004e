//! Where a request comes from: the connection's other end; or, if that is a proxy of ours, whom the proxy names.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use ipnet::IpNet;

/// The client's address. Of `X-Forwarded-For` only what proxies of ours have added counts: the last address that is none of theirs.
pub fn client(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    let peer = peer.ip().to_canonical();
    let ours = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    if !ours(peer) {
        return Some(peer);
    }
    let named: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    let mut last = peer;
    for text in named.into_iter().rev() {
        let Ok(address) = text.trim().parse::<IpAddr>() else { break };
        last = address.to_canonical();
        if !ours(last) {
            break;
        }
    }
    Some(last)
}

/// Whether the browser came by https. Whoever says so falsely only makes a cookie of their own stricter.
pub fn is_https(headers: &HeaderMap) -> bool {
    let first = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()).and_then(|value| value.split(',').next());
    first.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, forwarded: &str, trusted: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        if !forwarded.is_empty() {
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(&extensions, &headers, &trusted).unwrap().to_string()
    }

    #[test]
    fn only_proxies_of_ours_are_believed() {
        assert_eq!(of("203.0.113.9", "10.0.0.1", &[]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", "198.51.100.7", &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", "6.6.6.6, 198.51.100.7, 10.0.0.2", &["10.0.0.0/8"]), "198.51.100.7");
        assert_eq!(of("10.0.0.1", "6.6.6.6, nonsense", &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", "", &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(of("::ffff:203.0.113.9", "", &[]), "203.0.113.9");
    }
}
