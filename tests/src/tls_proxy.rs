//! A server that speaks TLS and offers HTTP/2: the sandbox behind a proxy with a certificate of its own.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Response, Version, header},
    serve::Listener,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
    server::TlsStream,
};

/// A name that its certificate is for, too; no DNS knows it.
pub const NAME: &str = "fhir.hospital.example";

/// The proxy; it ends when it is dropped.
pub struct TlsProxy {
    /// The FHIR base URL through it.
    pub base_url: String,
    /// Its certificate, for SSL_CERT_FILE or HTTP_CA_FILE.
    pub certificate: PathBuf,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

/// What came to the proxy.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Connections that got through the handshake.
    pub connections: usize,
    /// Requests for files.
    pub files: Vec<Seeing>,
}

/// A request for a file.
#[derive(Debug, Clone)]
pub struct Seeing {
    pub version: Version,
    /// The names of its headers, sorted.
    pub headers: Vec<String>,
}

impl TlsProxy {
    /// Before the server with this FHIR base URL; the certificate is kept in the folder.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn before(base_url: &str, folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), NAME.to_owned()]).expect("a certificate");
        let certificate = folder.join("certificate.pem");
        std::fs::write(&certificate, made.cert.pem()).expect("a file");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a certificate with its key");
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let state = Behind {
            target: base_url.trim_end_matches("/fhir").to_owned(),
            host: HeaderValue::try_from(address.to_string()).expect("ASCII"),
            http: crate::app::client(),
            seen: Arc::clone(&seen),
        };
        let listener = Door { socket, tls: TlsAcceptor::from(Arc::new(tls)), seen: Arc::clone(&seen) };
        let router = axum::Router::new().fallback(pass).with_state(state);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { base_url: format!("https://{address}/fhir"), certificate, seen, task }
    }

    /// What came so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts who gets through the handshake.
struct Door {
    socket: TcpListener,
    tls: TlsAcceptor,
    seen: Arc<Mutex<Seen>>,
}

impl Listener for Door {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.socket).await;
            if let Ok(stream) = self.tls.accept(stream).await {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[derive(Clone)]
struct Behind {
    target: String,
    host: HeaderValue,
    http: reqwest::Client,
    seen: Arc<Mutex<Seen>>,
}

async fn pass(State(behind): State<Behind>, mut request: Request) -> Response<Body> {
    if request.uri().path().starts_with("/fhir/files/") {
        let mut headers: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
        headers.sort();
        let seeing = Seeing { version: request.version(), headers };
        behind.seen.lock().unwrap_or_else(PoisonError::into_inner).files.push(seeing);
    }
    // So that the server names its files as they are reached: through here, by the name that was used.
    let host = request.uri().authority().and_then(|host| HeaderValue::try_from(host.as_str()).ok());
    let headers = request.headers_mut();
    let host = host.or_else(|| headers.get(header::HOST).cloned()).unwrap_or(behind.host);
    headers.insert(header::HOST, host);
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    crate::proxy::forward(&behind.http, &behind.target, request).await
}
