//! Who may call: roles, tokens, sessions, and what of it stands in the audit log.

use std::net::SocketAddr;

use bulkhead_api::{
    Access, ApiAuth, ApiState,
    access::{
        accounts::{self, AccountError, TokenWanted},
        login::{self, Attempt, Outcome},
    },
};
use bulkhead_shared::{
    db::users,
    domain::{audit::Actor, outgoing::OutgoingRules, role::Role},
    secrets::Cipher,
};
use bulkhead_tests::{
    Database,
    app::{client, secret_key},
};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use uuid::Uuid;

const PASSWORD: &str = "four words in a row";

/// An API that asks who calls.
struct Closed {
    state: ApiState,
    api: String,
    _database: Database,
}

impl Closed {
    async fn start() -> Self {
        let database = Database::shared().await;
        let cipher = Cipher::from_base64(&secret_key()).expect("a key");
        let state = ApiState::new(database.pool.clone(), cipher, OutgoingRules::default(), 20);
        let state = ApiState { access: Access { api: ApiAuth::Required, ..Access::default() }, ..state };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let api = format!("http://{}", listener.local_addr().expect("an address"));
        let router = bulkhead_api::router(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { state, api, _database: database }
    }

    async fn user(&self, name: &str, role: Role) -> users::User {
        accounts::add_user(&self.state.pool, &Actor::command_line(), name, role, PASSWORD.into()).await.expect("a user");
        users::by_name(&self.state.pool, name).await.expect("SQL").expect("it is there")
    }

    async fn token(&self, name: &str, role: Role) -> SecretString {
        let wanted = TokenWanted { name, role, owner: None, lifetime: None };
        accounts::add_token(&self.state.pool, &Actor::command_line(), &wanted).await.expect("a token")
    }

    async fn log_in(&self, name: &str, password: &str) -> Outcome {
        let address = Some([192, 0, 2, 1].into());
        let attempt = Attempt { name, password: password.into(), address, user_agent: None };
        login::log_in(&self.state, attempt).await.expect("an answer")
    }

    async fn cookie(&self, name: &str) -> String {
        let Outcome::In(cookie) = self.log_in(name, PASSWORD).await else { panic!("{name} may log in") };
        format!("bulkhead_session={}", cookie.expose_secret())
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = client().request(method, format!("{}{path}", self.api));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn acts(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT act FROM bulkhead.audit_log ORDER BY id").fetch_all(&self.state.pool).await.expect("the log")
    }
}

const JOBS: &str = "/api/bulk-data/jobs";

fn bearer(token: &SecretString) -> String {
    format!("Bearer {}", token.expose_secret())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_or_a_login_only_health_and_our_public_keys_answer() {
    let app = Closed::start().await;
    for path in ["/health/live", "/health/ready", "/.well-known/jwks.json"] {
        assert_eq!(app.ask(Method::GET, path, &[]).await.0, 200, "{path}");
    }
    for authorization in [None, Some("Bearer bulkhead_nonsense"), Some("Basic YTpi")] {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        let (status, problem) = app.ask(Method::GET, JOBS, &headers).await;
        assert_eq!((status, problem["type"].as_str()), (401, Some("/problems/unauthenticated")), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("tokens add")), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_look_and_may_not_retry_and_the_attempt_is_written_down() {
    let app = Closed::start().await;
    let (viewer, operator) = (app.token("look", Role::Viewer).await, app.token("act", Role::Operator).await);
    let retry = format!("{JOBS}/{}/retry", Uuid::new_v4());
    assert_eq!(app.ask(Method::GET, JOBS, &[("authorization", &bearer(&viewer))]).await.0, 200);
    let (status, problem) = app.ask(Method::POST, &retry, &[("authorization", &bearer(&viewer))]).await;
    assert_eq!((status, problem["type"].as_str()), (403, Some("/problems/forbidden")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("operator")), "{problem}");
    assert!(!problem.to_string().contains(viewer.expose_secret()));
    assert_eq!(app.ask(Method::POST, &retry, &[("authorization", &bearer(&operator))]).await.0, 404, "it may; there is no such job");
    assert_eq!(app.acts().await, ["token_added", "token_added", "refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_or_has_expired_or_whose_owner_is_disabled_is_good_no_longer() {
    let app = Closed::start().await;
    app.user("root", Role::Admin).await;
    let ann = app.user("ann", Role::Operator).await;
    let actor = Actor::command_line();
    let wanted = |name| TokenWanted { name, role: Role::Operator, owner: Some((ann.id, ann.role)), lifetime: None };
    let too_much = TokenWanted { role: Role::Admin, ..wanted("x") };
    assert!(matches!(accounts::add_token(&app.state.pool, &actor, &too_much).await, Err(AccountError::TooMuch)));
    let token = accounts::add_token(&app.state.pool, &actor, &wanted("nightly")).await.expect("a token");
    let look = async || app.ask(Method::GET, JOBS, &[("authorization", &bearer(&token))]).await.0;
    assert_eq!(look().await, 200);
    let set = async |sql: &'static str| {
        sqlx::query(sql).execute(&app.state.pool).await.expect("SQL");
    };
    set("UPDATE bulkhead.api_tokens SET expires_at = clock_timestamp() - interval '1 s'").await;
    assert_eq!(look().await, 401);
    set("UPDATE bulkhead.api_tokens SET expires_at = NULL").await;
    accounts::set_disabled(&app.state.pool, &actor, &ann, true).await.expect("disabled");
    assert_eq!(look().await, 401);
    accounts::set_disabled(&app.state.pool, &actor, &ann, false).await.expect("enabled");
    accounts::set_role(&app.state.pool, &actor, &ann, Role::Viewer).await.expect("a lesser role");
    let retry = format!("{JOBS}/{}/retry", Uuid::new_v4());
    assert_eq!(app.ask(Method::POST, &retry, &[("authorization", &bearer(&token))]).await.0, 403, "never more than its owner");
    set("UPDATE bulkhead.api_tokens SET revoked_at = clock_timestamp()").await;
    assert_eq!(look().await, 401);
    let stored: String = sqlx::query_scalar("SELECT string_agg(t::text || encode(token_hash, 'escape'), '') FROM bulkhead.api_tokens t")
        .fetch_one(&app.state.pool)
        .await
        .expect("a row");
    assert!(!stored.contains(token.expose_secret()), "only its hash is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_changes_nothing_without_the_csrf_token_and_is_out_when_its_session_is_revoked() {
    let app = Closed::start().await;
    let ann = app.user("ann", Role::Admin).await;
    let cookie = app.cookie("ann").await;
    let retry = format!("{JOBS}/{}/retry", Uuid::new_v4());
    assert_eq!(app.ask(Method::GET, JOBS, &[("cookie", &cookie)]).await.0, 200);
    for headers in [vec![("cookie", &*cookie)], vec![("cookie", &*cookie), ("x-csrf-token", "another")]] {
        let (status, problem) = app.ask(Method::POST, &retry, &headers).await;
        assert_eq!((status, problem["type"].as_str()), (403, Some("/problems/csrf-token")), "{problem}");
    }
    for foreign in [("origin", "https://evil.example.org"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")] {
        let (status, problem) = app.ask(Method::POST, &retry, &[("cookie", &cookie), foreign]).await;
        assert_eq!((status, problem["type"].as_str()), (403, Some("/problems/cross-origin")), "{problem}");
    }
    let other = app.cookie("ann").await;
    accounts::set_password(&app.state.pool, &Actor::command_line(), &ann, "five words in one row".into(), None).await.expect("changed");
    for cookie in [cookie, other] {
        assert_eq!(app.ask(Method::GET, JOBS, &[("cookie", &cookie)]).await.0, 401, "the password was changed");
    }
    assert!(matches!(app.log_in("ann", PASSWORD).await, Outcome::Wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer_and_too_many_wait() {
    let app = Closed::start().await;
    app.user("ann", Role::Admin).await;
    for name in ["ann", "nobody at all"] {
        for _ in 0..10 {
            assert!(matches!(app.log_in(name, "wrong wrong wrong").await, Outcome::Wrong), "{name}");
        }
        let Outcome::Wait(wait) = app.log_in(name, PASSWORD).await else { panic!("{name}: the eleventh waits") };
        assert!(wait.as_secs() <= 30 && wait.as_millis() > 0, "{wait:?}");
    }
    let log: String =
        sqlx::query_scalar("SELECT string_agg(l::text, ' ') FROM bulkhead.audit_log l").fetch_one(&app.state.pool).await.expect("it");
    assert!(!log.contains("nobody at all") && !log.contains("wrong") && log.contains("192.0.2.1"), "{log}");
    assert_eq!(app.acts().await.iter().filter(|act| *act == "login_failed").count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_stays_and_the_audit_log_is_append_only() {
    let app = Closed::start().await;
    let ann = app.user("ann", Role::Admin).await;
    let actor = Actor::command_line();
    assert!(matches!(accounts::set_disabled(&app.state.pool, &actor, &ann, true).await, Err(AccountError::LastAdmin)));
    assert!(matches!(accounts::set_role(&app.state.pool, &actor, &ann, Role::Viewer).await, Err(AccountError::LastAdmin)));
    assert!(sqlx::query("DELETE FROM bulkhead.users").execute(&app.state.pool).await.is_err());
    app.user("ben", Role::Admin).await;
    accounts::set_disabled(&app.state.pool, &actor, &ann, true).await.expect("there is another");
    for sql in ["UPDATE bulkhead.audit_log SET actor = 'x'", "DELETE FROM bulkhead.audit_log", "TRUNCATE bulkhead.audit_log"] {
        assert!(sqlx::query(sql).execute(&app.state.pool).await.is_err(), "{sql}");
    }
    assert_eq!(app.acts().await, ["user_added", "user_added", "user_disabled"]);
}
