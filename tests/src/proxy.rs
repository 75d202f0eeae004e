//! A server that does not compress: the sandbox behind a proxy that asks it for plain bodies. Strong ETags and ranges stay.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode, header},
};

/// The proxy; it ends when it is dropped.
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
        let target = base_url.trim_end_matches("/fhir").to_owned();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = axum::Router::new().fallback(pass).with_state((target, crate::app::client()));
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

async fn pass(State((target, http)): State<(String, reqwest::Client)>, request: Request) -> Response<Body> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut headers: HeaderMap = request.headers().clone();
    headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("identity"));
    let answer = http.request(request.method().clone(), format!("{target}{path}")).headers(headers).send().await;
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
