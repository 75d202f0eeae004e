//! A hospital's network: certificates of its own authority, and a proxy that everything goes through.

use std::{net::SocketAddr, time::Duration};

use bulkhead_tests::{App, ConnectProxy, SandboxConfig, Setup, TlsProxy, tls_proxy::NAME};
use serde_json::json;
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";

/// An open server behind TLS, and no worker yet.
async fn start() -> (App, TlsProxy, tempfile::TempDir) {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, ..setup().sandbox };
    let app = App::start(Setup { sandbox, workers: 0, ..setup() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let tls = TlsProxy::before(&app.sandbox.base_url(), folder.path()).await;
    (app, tls, folder)
}

async fn export(app: &App, base_url: &str) -> Uuid {
    let body = json!({"fhir_server_url": format!("{base_url}/Group/{GROUP}"), "resource_types": ["Patient", "Condition"]});
    app.submit(&body).await
}

fn address(tls: &TlsProxy) -> SocketAddr {
    tls.base_url.trim_start_matches("https://").trim_end_matches("/fhir").parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hospitals_own_authority_is_trusted_when_its_file_is_named() {
    let (mut app, tls, folder) = start().await;
    // A bundle of several, as hospitals hand them out.
    let other = TlsProxy::before(&app.sandbox.base_url(), &{
        let other = folder.path().join("other");
        std::fs::create_dir(&other).expect("a folder");
        other
    })
    .await;
    let [first, second] = [&other, &tls].map(|proxy| std::fs::read_to_string(&proxy.certificate).expect("a certificate"));
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, format!("# Hospital CA\n{first}\n{second}")).expect("a file");
    app.add_worker_with(&[("HTTP_CA_FILE", bundle.to_str().expect("UTF-8"))]);
    let job = export(&app, &tls.base_url).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    assert!(tls.seen().connections > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_refused_with_what_to_do() {
    let (mut app, tls, _folder) = start().await;
    let job = export(&app, &tls.base_url).await;
    app.sql("UPDATE bulkhead.stages SET max_attempts = 1").await;
    app.add_worker_with(&[("RETRY_MAX_ATTEMPTS", "1")]);
    let status = app.until(job, "failed").await;
    assert!(status["remedy"].as_str().is_some_and(|remedy| remedy.contains("HTTP_CA_FILE")), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_certificates_stops_the_worker_with_a_clear_word() {
    let (mut app, _tls, folder) = start().await;
    let [empty, broken] = ["empty.pem", "broken.pem"].map(|name| folder.path().join(name));
    std::fs::write(&empty, "no certificate here").expect("a file");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").expect("a file");
    let missing = folder.path().join("missing.pem");
    for (path, says) in [(&missing, "cannot read HTTP_CA_FILE"), (&empty, "holds no certificate"), (&broken, "HTTP_CA_FILE")] {
        let n = app.add_worker_with(&[("HTTP_CA_FILE", path.to_str().expect("UTF-8"))]);
        let code = app.workers[n].exit().await;
        let log = app.workers[n].log();
        assert!(code != Some(0) && log.contains(says), "{code:?} {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_through_the_proxy_which_knows_the_servers_name() {
    let (mut app, tls, _folder) = start().await;
    let proxy = ConnectProxy::to(address(&tls)).await;
    app.add_worker_with(&[("HTTPS_PROXY", &proxy.url), ("HTTP_CA_FILE", tls.certificate.to_str().expect("UTF-8"))]);
    // No DNS has this name: only the proxy can reach it.
    let job = export(&app, &format!("https://{NAME}/fhir")).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|target| *target == format!("{NAME}:443")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_no_proxy_is_reached_directly() {
    let (mut app, tls, _folder) = start().await;
    let proxy = ConnectProxy::to(address(&tls)).await;
    let certificate = tls.certificate.to_str().expect("UTF-8").to_owned();
    app.add_worker_with(&[("HTTPS_PROXY", &proxy.url), ("NO_PROXY", "127.0.0.1,.internal.example"), ("HTTP_CA_FILE", &certificate)]);
    let job = export(&app, &tls.base_url).await;
    app.until(job, "completed").await;
    assert_eq!(proxy.asked(), Vec::<String>::new());
}
