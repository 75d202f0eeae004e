//! The pages of the sources.

use std::{net::SocketAddr, time::Duration};

use bulkhead_api::{ApiState, access::accounts};
use bulkhead_shared::{
    domain::{audit::Actor, outgoing::OutgoingRules, role::Role},
    secrets::Cipher,
};
use bulkhead_tests::{App, Database, SandboxConfig, Setup, app::secret_key};
use reqwest::redirect::Policy;
use uuid::Uuid;

use crate::{
    data_page::page::pages,
    new_export::{get, hidden, post},
    setup,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_source_tells_what_is_known_and_never_a_secret_is_checked_and_set() {
    let sandbox = SandboxConfig { auth: true, export_time: Duration::ZERO, ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let base = pages(&app).await;
    assert!(get(&base, "/sources").await.html.contains("No server is known yet"));
    let job = app.export_of("FallonHealth", &["Patient"]).await;
    app.until(job, "completed").await;
    let source: Uuid = sqlx::query_scalar("SELECT id FROM bulkhead.sources").fetch_one(&app.pool).await.expect("a source");
    let path = format!("/sources/{source}");
    let list = get(&base, "/sources").await;
    assert!(list.html.contains(&path) && list.html.contains("SMART Backend Services") && list.html.contains(">Valid<"), "{}", list.html);

    let checked = post(&base, &format!("{path}/check"), &[]).await;
    assert!(checked.path == path && checked.html.contains("The check is under way"), "{}", checked.html);
    app.until_sql("SELECT state = 'completed' FROM bulkhead.exports WHERE source_id = $1 AND purpose = 'check'", source).await;
    let page = get(&base, &path).await;
    assert!(
        page.html.contains("The token endpoint gave an access token") && page.html.contains(&format!("/exports/{job}")),
        "{}",
        page.html
    );
    let secret = app.credentials().private_jwk["d"].as_str().expect("a private key");
    assert!(!page.html.contains(secret) && !list.html.contains(secret));

    let set = post(&base, &format!("{path}/settings"), &[("dialect", "post_repeat"), ("policy", "hold"), ("parallel", "3")]).await;
    assert!(set.html.contains("The settings are saved"), "{}", set.html);
    let kept = "SELECT dialect = 'post_repeat' AND dialect_set AND kick_off_policy = 'hold' AND max_parallel = 3 FROM bulkhead.sources";
    assert!(app.is(kept).await);
    let wrong = post(&base, &format!("{path}/settings"), &[("parallel", "1000")]).await;
    assert!(wrong.html.contains("from 1 to 100") && app.is(kept).await, "{}", wrong.html);
    post(&base, &format!("{path}/settings"), &[("policy", "resend"), ("parallel", "6")]).await;
    assert!(app.is("SELECT dialect IS NULL AND NOT dialect_set FROM bulkhead.sources").await, "it is learned anew");
    assert_eq!(get(&base, &format!("/sources/{}", Uuid::new_v4())).await.status, 404);
}

#[expect(clippy::disallowed_methods, reason = "a browser, not a worker")]
fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_queue_and_sources_and_may_change_neither_nor_submit() {
    let database = Database::shared().await;
    let cipher = Cipher::from_base64(&secret_key()).expect("a key");
    let state = ApiState::new(database.pool.clone(), cipher, OutgoingRules::default(), 20);
    accounts::add_user(&state.pool, &Actor::command_line(), "vera", Role::Viewer, "four words in a row".into()).await.expect("a user");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = bulkhead_api::pages_router(state).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let form = [("name", "vera"), ("password", "four words in a row")];
    let entered = browser().post(format!("{base}/login")).form(&form).send().await.expect("an answer");
    let cookie = entered.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie").to_owned();
    let mut csrf = String::new();
    for path in ["/queue", "/sources"] {
        let page = browser().get(format!("{base}{path}")).header("cookie", &cookie).send().await.expect("an answer");
        assert_eq!(page.status(), 200, "{path}");
        let html = page.text().await.expect("a page");
        assert!(!html.contains("href=\"/new\"") && !html.contains("action=\"/queue/workers"), "{path} offers what a viewer may not");
        csrf = hidden(&html, "csrf").to_owned();
    }
    assert_eq!(browser().get(format!("{base}/new")).header("cookie", &cookie).send().await.expect("an answer").status(), 403);
    let id = Uuid::new_v4();
    for path in [
        "/new".to_owned(),
        format!("/new/{id}"),
        format!("/new/{id}/send"),
        format!("/queue/workers/{id}"),
        format!("/sources/{id}/check"),
        format!("/sources/{id}/settings"),
    ] {
        let form = [("csrf", csrf.as_str()), ("fhir_server_url", "http://127.0.0.1:1/fhir")];
        let refused = browser().post(format!("{base}{path}")).header("cookie", &cookie).form(&form).send().await.expect("an answer");
        assert_eq!(refused.status(), 403, "{path}");
    }
}
