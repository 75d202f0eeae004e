//! The login of the web pages.

use std::net::SocketAddr;

use bulkhead_api::{ApiState, access::accounts};
use bulkhead_shared::{
    domain::{audit::Actor, outgoing::OutgoingRules, role::Role},
    secrets::Cipher,
};
use bulkhead_tests::{Database, app::secret_key};
use reqwest::redirect::Policy;

const PASSWORD: &str = "four words in a row";

#[expect(clippy::disallowed_methods, reason = "a browser, not a worker")]
fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_sees_the_page_that_was_wanted_and_who_logs_out_is_out_at_the_next_request() {
    let database = Database::shared().await;
    let cipher = Cipher::from_base64(&secret_key()).expect("a key");
    let state = ApiState::new(database.pool.clone(), cipher, OutgoingRules::default(), 20);
    accounts::add_user(&state.pool, &Actor::command_line(), "ann", Role::Viewer, PASSWORD.into()).await.expect("a user");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = bulkhead_api::pages_router(state).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let get =
        async |path: &str, cookie: &str| browser().get(format!("{base}{path}")).header("cookie", cookie).send().await.expect("an answer");
    let post = async |path: &str, cookie: &str, form: &[(&str, &str)]| {
        browser().post(format!("{base}{path}")).header("cookie", cookie).form(form).send().await.expect("an answer")
    };

    let sent = get("/exports?state=failed", "").await;
    assert_eq!(
        (sent.status(), sent.headers()["location"].to_str().expect("text")),
        (303.try_into().expect("a status"), "/login?back=%2Fexports%3Fstate%3Dfailed")
    );
    let wrong = post("/login", "", &[("name", "ann"), ("password", "wrong wrong wrong"), ("back", "/exports")]).await;
    assert_eq!(wrong.status(), 403);
    assert!(!wrong.text().await.expect("a page").contains("wrong wrong wrong"), "a password is never shown again");
    let elsewhere = post("/login", "", &[("name", "Ann"), ("password", PASSWORD), ("back", "https://evil.example")]).await;
    assert_eq!(elsewhere.headers()["location"], "/");
    let good = post("/login", "", &[("name", "Ann"), ("password", PASSWORD), ("back", "/exports?state=failed")]).await;
    assert_eq!(good.headers()["location"], "/exports?state=failed");
    let set = good.headers()["set-cookie"].to_str().expect("text");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/"), "{set}");
    let cookie = set.split(';').next().expect("a cookie").to_owned();
    let page = get("/exports", &cookie).await;
    assert_eq!(page.status(), 200);
    let html = page.text().await.expect("a page");
    let csrf = html.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form that logs out");

    assert_eq!(post("/logout", &cookie, &[("csrf", "another")]).await.status(), 403);
    assert_eq!(get("/exports", &cookie).await.status(), 200, "still in");
    assert_eq!(post("/logout", &cookie, &[("csrf", csrf)]).await.status(), 303);
    assert_eq!(get("/exports", &cookie).await.status(), 303, "out");
    let acts: Vec<String> =
        sqlx::query_scalar("SELECT act FROM bulkhead.audit_log ORDER BY id").fetch_all(&database.pool).await.expect("the log");
    assert_eq!(acts, ["user_added", "login_failed", "logged_in", "logged_in", "logged_out"]);
}
