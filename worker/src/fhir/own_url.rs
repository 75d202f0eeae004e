//! A server behind a proxy that ends TLS may not know that it was asked by https, and name itself by http.

use url::Url;

/// The same place, by the scheme and the port that this server was asked by. A URL of another server stays what it is.
pub fn as_asked(mut url: Url, asked: &Url) -> Url {
    let same_port = url.port().is_none() || url.port_or_known_default() == asked.port_or_known_default();
    if url.scheme() == "http" && asked.scheme() == "https" && url.host() == asked.host() && same_port {
        let _ = url.set_scheme("https");
        let _ = url.set_port(asked.port());
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_server_is_asked_by_https() {
        for (asked, named, expected) in [
            ("https://h/r4", "http://h/r4/x?p=2", "https://h/r4/x?p=2"),
            ("https://h:8443/r4", "http://h/x", "https://h:8443/x"),
            ("https://h:8443/r4", "http://h:8443/x", "https://h:8443/x"),
            ("https://h/r4", "http://h:443/x", "https://h/x"),
            ("https://h/r4", "http://h:8080/x", "http://h:8080/x"),
            ("https://h/r4", "http://other/x", "http://other/x"),
            ("http://h/r4", "http://h/x", "http://h/x"),
            ("https://h/r4", "https://h/x", "https://h/x"),
        ] {
            let url = |text: &str| Url::parse(text).unwrap();
            assert_eq!(as_asked(url(named), &url(asked)), url(expected), "{asked} {named}");
        }
    }
}
