//! Proxies before the sandbox, for servers that are otherwise than it is.

use std::io::Write as _;

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, Response, StatusCode, header},
};
use flate2::{Compression, write::GzEncoder};

/// What a proxy does with a request.
#[derive(Clone)]
struct Pass {
    target: String,
    http: reqwest::Client,
    in_members: bool,
}

/// A server that does not compress: the sandbox behind a proxy that asks it for plain bodies. Strong ETags and ranges stay.
/// It ends when it is dropped.
pub struct PlainProxy {
    /// The FHIR base URL through it.
    pub base_url: String,
    task: tokio::task::JoinHandle<()>,
}

impl PlainProxy {
    /// Before the server with this FHIR base URL.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn before(base_url: &str) -> Self {
        Self::start(base_url, false).await
    }

    /// The same, but files are packed: as `cat a.gz b.gz` would, each file several members one after the other.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn packing_in_members(base_url: &str) -> Self {
        Self::start(base_url, true).await
    }

    async fn start(base_url: &str, in_members: bool) -> Self {
        let target = base_url.trim_end_matches("/fhir").to_owned();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = axum::Router::new().fallback(pass).with_state(Pass { target, http: crate::app::client(), in_members });
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { base_url: format!("http://{address}/fhir"), task }
    }
}

impl Drop for PlainProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(pass): State<Pass>, mut request: Request) -> Response<Body> {
    let is_file = request.uri().path().starts_with("/fhir/files/");
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let answer = forward(&pass.http, &pass.target, request).await;
    if !(pass.in_members && is_file && answer.status() == StatusCode::OK) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let plain = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(members(&plain)))
}

/// Members that end in the middle of a line, too; one of them is empty.
fn members(plain: &Bytes) -> Vec<u8> {
    let (first, rest) = plain.split_at(plain.len() / 3);
    let mut packed = Vec::new();
    for member in [first, b"", rest] {
        let mut gzip = GzEncoder::new(&mut packed, Compression::fast());
        gzip.write_all(member).and_then(|()| gzip.finish()).expect("memory takes every write");
    }
    packed
}

/// Asks the server behind (GET and DELETE: no body) and streams its answer.
pub async fn forward(http: &reqwest::Client, target: &str, request: Request) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let answer = http.request(parts.method, format!("{target}{path}")).headers(parts.headers).send().await;
    let Ok(answer) = answer else {
        let mut gone = Response::new(Body::empty());
        *gone.status_mut() = StatusCode::BAD_GATEWAY;
        return gone;
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if *name != header::TRANSFER_ENCODING && *name != header::CONNECTION {
            response = response.header(name, value);
        }
    }
    response.body(Body::from_stream(answer.bytes_stream())).expect("headers that were headers")
}
