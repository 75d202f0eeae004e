//! Kick-offs taken in per second, and how long one takes: POST with `Prefer: wait=0`, against the real router on a runtime of its own in this
//! process (no worker runs), clients on the same machine, a connection each, durable Postgres.
//! `cargo bench -p bulkhead-tests --bench kick_off`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bulkhead_sandbox::{Sandbox, SandboxConfig};
use bulkhead_tests::bench::{Bench, Durable, Goal, Samples, quantile};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What is submitted.
#[derive(Clone, Copy)]
enum Body {
    Open,
    Smart,
}

#[tokio::main]
async fn main() {
    let bench = Bench::start("Kick-offs");
    let durable = Durable::start().await;
    let api = serve(&durable.url);
    let sandbox = Sandbox::start(SandboxConfig { auth: true, ..SandboxConfig::default() }).expect("a sandbox");
    let credentials = sandbox.register_client();
    let smart = json!({
        "use_smart_auth": true, "token_url": credentials.token_url, "client_id": credentials.client_id,
        "private_key": credentials.private_jwk, "algorithm": "RS384",
    });
    let n = bench.size(1000, 40);
    let (mut rates, mut slowest) = (Samples::of("accepted per second"), Samples::of("p99 in milliseconds"));
    for _ in 0..bench.runs {
        for body in [Body::Open, Body::Smart] {
            for sources in [1, 200] {
                for clients in [1, 8, 32] {
                    let what = if matches!(body, Body::Smart) { "SMART" } else { "open" };
                    let name = format!("{what}, {sources} source(s), {clients} client(s)");
                    let (rate, p99) = measure(api, body, &smart, sources, clients, n).await;
                    rates.add(&name, rate);
                    slowest.add(&name, p99);
                }
            }
        }
    }
    rates.print();
    slowest.print();
    for clients in [8, 32] {
        let name = format!("SMART, 1 source(s), {clients} client(s)");
        let (rate, p99) = (rates.median(&name).unwrap_or(0.0), slowest.median(&name).unwrap_or(f64::MAX));
        println!("{name}: {rate:.0}/s {}", Goal::AtLeast(200.0, 1000.0).verdict(rate));
        println!("{name}: p99 {p99:.1} ms {}", Goal::AtMost(50.0, 20.0).verdict(p99));
    }
}

/// The API as its process runs it, but for its listeners.
fn serve(url: &str) -> SocketAddr {
    let pool = bulkhead_shared::db::pool(url, "bulkhead-api", bulkhead_api::CONNECTIONS).expect("a pool");
    let cipher = bulkhead_shared::secrets::Cipher::from_base64(&bulkhead_tests::app::secret_key()).expect("a key");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            sender.send(listener.local_addr().expect("an address")).expect("somebody waits");
            let state = bulkhead_api::ApiState::new(pool, cipher, bulkhead_shared::domain::outgoing::OutgoingRules::default(), 10);
            axum::serve(listener, bulkhead_api::router(state)).await.expect("it serves");
        });
    });
    receiver.recv().expect("an address")
}

static SUBMITTED: AtomicUsize = AtomicUsize::new(0);

/// Each asks for another Group: equal questions would wait for each other.
fn request(body: Body, smart: &Value, sources: usize) -> Vec<u8> {
    let n = SUBMITTED.fetch_add(1, Ordering::Relaxed);
    let mut submission = json!({ "fhir_server_url": format!("https://fhir{}.example.org/r4/Group/{n}", n % sources) });
    if let (Body::Smart, Value::Object(smart)) = (body, smart) {
        submission.as_object_mut().expect("an object").extend(smart.clone());
    }
    let body = submission.to_string();
    format!(
        "POST /api/bulk-data/kick-off HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nprefer: wait=0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn measure(api: SocketAddr, body: Body, smart: &Value, sources: usize, clients: usize, n: usize) -> (f64, f64) {
    let smart = Arc::new(smart.clone());
    // The sources are made before, as they are when an operator submits every night.
    let mut warm = TcpStream::connect(api).await.expect("a connection");
    for _ in 0..sources {
        submit(&mut warm, &request(body, &smart, sources)).await;
    }
    let left = Arc::new(AtomicUsize::new(n));
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (left, smart) = (Arc::clone(&left), Arc::clone(&smart));
            tokio::spawn(async move {
                let mut connection = TcpStream::connect(api).await.expect("a connection");
                connection.set_nodelay(true).expect("a socket");
                let mut took = Vec::new();
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let request = request(body, &smart, sources);
                    took.push(submit(&mut connection, &request).await.as_secs_f64() * 1000.0);
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("a client"));
    }
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let rate = n as f64 / began.elapsed().as_secs_f64();
    (rate, quantile(&took, 0.99))
}

/// One request and its whole answer, which must be 200.
async fn submit(connection: &mut TcpStream, request: &[u8]) -> Duration {
    let began = Instant::now();
    connection.write_all(request).await.expect("the API reads");
    let mut answer = Vec::with_capacity(2048);
    loop {
        assert!(connection.read_buf(&mut answer).await.expect("the API answers") > 0, "the API closed the connection");
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|n| n.parse().ok());
        if length.is_some_and(|length: usize| body.len() >= length) {
            return began.elapsed();
        }
    }
}
