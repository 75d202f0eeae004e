//! The one door to HTTP. Redirects are followed here, hop by hop, each checked against the outgoing rules; the
//! Authorization header does not cross origins (Bulk Data IG, "Security Considerations").

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use bulkhead_shared::{
    config::{HttpSettings, LimitSettings},
    domain::{
        failure::Reason,
        outgoing::{OutgoingRules, is_forbidden, without_query},
    },
    queue::{StageError, Trouble},
};
use reqwest::{
    Body, Certificate, Client, Method, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE},
    redirect::Policy,
};

use crate::limits;

/// A manifest of a million files is smaller.
pub const MANIFEST_BODY: usize = 256 << 20;
/// What a server may send ahead of one download over HTTP/2, in bytes. On a link of 100 ms that is 10 MB a second, packed, and
/// all that a download whose reader waits can hold in memory. HTTP/2's own 64 KiB would be 650 kB a second.
const STREAM_WINDOW: u32 = 1 << 20;
/// Enough for all downloads of a worker (WORKER_TRANSFERS is at most 64), which share one connection: one whose reader waits for
/// its part to be stored must not use up the window of the others. For the same reason no adaptive window, which gives
/// connection and stream the same.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// Tokens and refusals are much smaller.
pub const SMALL_BODY: usize = 1 << 20;

/// A client for all servers.
#[derive(Clone)]
pub struct Http {
    client: Client,
    rules: OutgoingRules,
    read_timeout: Duration,
    redirects: usize,
}

/// A request that can be sent again: over a redirect, or with a new token.
#[derive(Clone)]
pub struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<bytes::Bytes>,
    pub token: Option<String>,
    /// Follow redirects to the same origin only (kick-off).
    pub same_origin_only: bool,
}

impl Ask {
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None, token: None, same_origin_only: false }
    }

    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub fn accept(self, value: &'static str) -> Self {
        self.header(ACCEPT, HeaderValue::from_static(value))
    }

    /// Ask for the body gzipped or plain, and get it as it is on the wire.
    pub fn accept_encoding(self, value: &'static str) -> Self {
        self.header(ACCEPT_ENCODING, HeaderValue::from_static(value))
    }

    pub fn range_from(self, start: i64, etag: &str) -> Self {
        let Ok(range) = HeaderValue::try_from(format!("bytes={start}-")) else { return self };
        let Ok(etag) = HeaderValue::from_str(etag) else { return self };
        self.header(RANGE, range).header(IF_RANGE, etag)
    }

    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body = Some(body.into());
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
    }
}

impl Http {
    /// Follows the operator's time-outs; honours HTTPS_PROXY and NO_PROXY. A proxy resolves the servers' names itself: then addresses that
    /// we never connect to are refused only where they are written as such, and the proxy must refuse the rest.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn new(settings: &HttpSettings, limits: &LimitSettings, rules: OutgoingRules) -> anyhow::Result<Self> {
        let authorities = settings.http_ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default();
        let client = Client::builder()
            .tls_certs_merge(authorities)
            .redirect(Policy::none())
            .connect_timeout(settings.http_timeout_connect)
            .read_timeout(settings.http_timeout_read)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(limits.limit_header_bytes)
            .gzip(false)
            .dns_resolver(Arc::new(CheckedDns))
            .user_agent(concat!("Bulkhead/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, rules, read_timeout: settings.http_timeout_read, redirects: limits.limit_redirects })
    }

    /// How long a server may be silent.
    pub fn read_timeout(&self) -> Duration {
        self.read_timeout
    }

    /// Whether the outgoing rules allow a URL that a server names.
    pub fn allow(&self, url: &Url) -> Result<(), StageError> {
        self.rules.check(url).map_err(|refused| {
            StageError::Fail(Trouble::new(
                Reason::Refused,
                format!("The server leads to a URL that is not allowed: {refused}."),
                "ask the server's operator, or allow the host",
            ))
        })
    }

    /// Sends a request and follows its redirects.
    pub async fn send(&self, ask: &Ask) -> Result<Response, StageError> {
        let mut url = ask.url.clone();
        let mut token = ask.token.as_deref();
        for _ in 0..=self.redirects {
            self.allow(&url)?;
            let mut request = self.client.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
            if let Some(token) = token {
                let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                    StageError::Fail(Trouble::new(
                        Reason::Credentials,
                        "The bearer token holds characters that no header may hold.",
                        "submit the export again with the right token",
                    ))
                })?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            if let Some(body) = &ask.body {
                request = request.body(Body::from(body.clone()));
            }
            let answer = request.send().await.map_err(|error| self.trouble(&url, error))?;
            if !answer.status().is_redirection() || answer.status().as_u16() == 304 {
                return Ok(answer);
            }
            let Some(next) = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok()).and_then(|l| url.join(l).ok()) else {
                return Ok(answer);
            };
            if next.origin() != url.origin() {
                if ask.same_origin_only {
                    return Err(StageError::Fail(Trouble::new(
                        Reason::Refused,
                        format!(
                            "The server redirects the request to another host ({}), where it must not be sent.",
                            next.host_str().unwrap_or("?")
                        ),
                        "use that host in fhir_server_url (or token_url) if you trust it",
                    )));
                }
                token = None;
            }
            url = next;
        }
        Err(limits::met(format!("{} redirects again and again", without_query(ask.url.as_str())), "LIMIT_REDIRECTS"))
    }

    /// A whole body of bounded size.
    pub async fn body(&self, mut answer: Response, most: usize) -> Result<Vec<u8>, StageError> {
        let url = answer.url().clone();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.trouble(&url, error))? {
            if body.len() + chunk.len() > most {
                return Err(StageError::Fail(Trouble::new(
                    Reason::Refused,
                    format!("The answer of {} is larger than {} MiB.", without_query(url.as_str()), most >> 20),
                    "ask the server's operator",
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// What an error of the transport means. Its own text may hold the URL with its query, so it is not used whole.
    pub fn trouble(&self, url: &Url, error: reqwest::Error) -> StageError {
        let place = without_query(url.as_str());
        if error.is_timeout() && error.is_connect() {
            return StageError::Retry(
                Trouble::new(
                    Reason::Unreachable,
                    format!("Timeout exceeded: no connection to {place} (HTTP_TIMEOUT_CONNECT)."),
                    "check the network and the server's address; then retry the export",
                ),
                None,
            );
        }
        if error.is_timeout() {
            return StageError::Retry(
                Trouble::new(
                    Reason::Unreachable,
                    format!("Timeout exceeded: {place} sent nothing for {} s.", self.read_timeout.as_secs()),
                    "raise HTTP_TIMEOUT_READ (e.g. HTTP_TIMEOUT_READ=600), check the network, or ask for fewer resource types; then retry the export",
                ),
                None,
            );
        }
        let cause = root_cause(&error);
        let what = if error.is_connect() { "cannot be reached" } else { "broke the connection" };
        StageError::Retry(
            Trouble::new(
                Reason::Unreachable,
                format!("{place} {what} ({cause})."),
                if cause.contains("certificate") {
                    "if the server's certificate is of a certificate authority of your own, name its PEM file in HTTP_CA_FILE and restart the \
                     workers; then retry the export"
                } else {
                    "check that the server runs and can be reached from the workers; then retry the export"
                },
            ),
            None,
        )
    }
}

/// The certificates of HTTP_CA_FILE.
fn authorities(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let shown = path.display();
    let pem = std::fs::read(path)
        .with_context(|| format!("cannot read HTTP_CA_FILE {shown}; give a file of certificates in PEM that this user may read"))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| anyhow::anyhow!("HTTP_CA_FILE {shown} cannot be read as PEM; {CONVERT}"))?;
    anyhow::ensure!(!found.is_empty(), "HTTP_CA_FILE {shown} holds no certificate (-----BEGIN CERTIFICATE-----); {CONVERT}");
    Ok(found)
}

const CONVERT: &str = "a DER file becomes PEM by: openssl x509 -inform der -in ca.cer -out ca.pem";

/// The innermost cause, in words; reqwest's own outer texts repeat the URL.
pub fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::eq(cause, std::ptr::from_ref(error) as *const dyn std::error::Error) {
        "transport error".to_owned()
    } else {
        cause.to_string()
    }
}

/// Resolves names, and drops addresses we never connect to: a public name may point at a metadata service.
struct CheckedDns;

impl Resolve for CheckedDns {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| !is_forbidden(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name leads to no address that Bulkhead connects to".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
