//! Where we may send requests: https, or http to a loopback or allowed host; never to link-local or
//! metadata addresses (SSRF). Checked for what users give, for every hop, and for every resolved address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Why a URL is refused. Says what to do next; never repeats the URL's query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0:?} is not an absolute URL; give one such as https://fhir.example.org/fhir")]
    NotAUrl(String),
    #[error("{0} is plain http; use https, or name the host in ALLOWED_HTTP_HOSTS if its network is private")]
    PlainHttp(String),
    #[error("{0:?} URLs cannot be fetched; use https")]
    Scheme(String),
    #[error("{0} is a link-local or cloud metadata address; Bulkhead never connects there")]
    Forbidden(String),
    #[error("the URL holds a user name or password; put credentials in client_id and private_key, or bearer_token")]
    UserInfo,
}

/// The rules, as an operator set them.
#[derive(Debug, Clone, Default)]
pub struct OutgoingRules {
    /// Hosts (without port) that may be reached over plain http.
    pub allowed_http_hosts: Vec<String>,
}

impl OutgoingRules {
    /// Parses and checks a URL a user gave.
    pub fn parse(&self, text: &str) -> Result<Url, Refused> {
        let url = Url::parse(text.trim()).map_err(|_| Refused::NotAUrl(without_query(text)))?;
        self.check(&url)?;
        Ok(url)
    }

    /// Checks one hop.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        let Some(host) = url.host() else {
            return Err(Refused::NotAUrl(without_query(url.as_str())));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let address = match host {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain(_) => None,
        };
        if address.is_some_and(is_forbidden) || is_metadata_name(&host) {
            return Err(Refused::Forbidden(host.to_string()));
        }
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.may_be_plain(&host, address) => Ok(()),
            "http" => Err(Refused::PlainHttp(host.to_string())),
            other => Err(Refused::Scheme(other.to_owned())),
        }
    }

    fn may_be_plain(&self, host: &Host<&str>, address: Option<IpAddr>) -> bool {
        address.is_some_and(|ip| ip.is_loopback())
            || matches!(host, Host::Domain(name) if *name == "localhost" || name.ends_with(".localhost"))
            || self.allowed_http_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host.to_string()))
    }
}

/// Addresses that lead to a cloud's metadata service or nowhere useful (RFC 3927, RFC 4291).
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => forbidden_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| forbidden_v6(ip), forbidden_v4),
    }
}

fn forbidden_v4(ip: Ipv4Addr) -> bool {
    // 100.100.100.200 is Alibaba Cloud's metadata service, 168.63.129.16 Azure's.
    ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_broadcast()
        || ip.is_multicast()
        || ip == Ipv4Addr::new(100, 100, 100, 200)
        || ip == Ipv4Addr::new(168, 63, 129, 16)
}

fn forbidden_v6(ip: Ipv6Addr) -> bool {
    // fd00:ec2::254 is the AWS metadata service over IPv6.
    ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast() || ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
}

fn is_metadata_name(host: &Host<&str>) -> bool {
    matches!(host, Host::Domain(name)
        if matches!(name.trim_end_matches('.'), "metadata.google.internal" | "metadata" | "instance-data"))
}

/// A URL as logs and errors may show it: its query may hold a signature.
#[must_use]
pub fn without_query(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let mut shown: String = url[..end].chars().take(200).collect();
    if end < url.len() {
        shown.push_str("?…");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<Url, Refused> {
        OutgoingRules { allowed_http_hosts: vec!["fhir.lan".to_owned()] }.parse(url)
    }

    #[test]
    fn https_loopback_and_allowed_hosts_pass() {
        for url in
            ["https://fhir.example.org/r4", "http://127.0.0.1:8080/fhir", "http://[::1]/fhir", "http://localhost/x", "http://fhir.lan/r4"]
        {
            assert!(check(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn plain_http_metadata_and_strange_urls_are_refused() {
        for url in [
            "http://fhir.example.org/r4",
            "https://169.254.169.254/latest/meta-data",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://metadata.google.internal/",
            "http://0.0.0.0/",
            "https://user:pw@fhir.example.org/",
            "file:///etc/passwd",
            "ftp://fhir.example.org/",
            "fhir.example.org/r4",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_shown_has_no_query() {
        assert_eq!(without_query("https://a/b?sig=secret"), "https://a/b?…");
    }
}
