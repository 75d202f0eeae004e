//! The list of exports: its filters, its pages, and what is done to many of them.

mod bulk;
mod filters;
mod pages;

use std::net::SocketAddr;

use bulkhead_api::{
    ApiState,
    access::{Access, ApiAuth, accounts},
};
use bulkhead_shared::{
    domain::{audit::Actor, outgoing::OutgoingRules, role::Role},
    secrets::Cipher,
};
use bulkhead_tests::{Database, app::secret_key};
use reqwest::redirect::Policy;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

const PASSWORD: &str = "four words in a row";

/// The pages over a database of its own, as one reader sees them.
struct Site {
    database: Database,
    base: String,
    cookie: String,
}

/// What came back.
struct Got {
    status: u16,
    location: String,
    html: String,
}

impl Site {
    /// In an open house: everybody is an operator.
    async fn open() -> Self {
        Self::start(None).await
    }

    /// For somebody who is logged in.
    async fn of(role: Role) -> Self {
        Self::start(Some(role)).await
    }

    async fn start(role: Option<Role>) -> Self {
        let database = Database::shared().await;
        let cipher = Cipher::from_base64(&secret_key()).expect("a key");
        let pages = if role.is_some() { ApiAuth::Required } else { ApiAuth::Open };
        let access = Access { pages, ..Access::default() };
        let state = ApiState { access, ..ApiState::new(database.pool.clone(), cipher, OutgoingRules::default(), 20) };
        if let Some(role) = role {
            accounts::add_user(&state.pool, &Actor::command_line(), "ann", role, PASSWORD.into()).await.expect("a user");
        }
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let router = bulkhead_api::pages_router(state).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut site = Self { database, base, cookie: String::new() };
        if role.is_some() {
            let form = [("name", "ann"), ("password", PASSWORD), ("back", "/exports")];
            let answer = browser().post(format!("{}/login", site.base)).form(&form).send().await.expect("an answer");
            let cookie = answer.headers()["set-cookie"].to_str().expect("text");
            cookie.split(';').next().expect("a cookie").clone_into(&mut site.cookie);
        }
        site
    }

    fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.pool()).await.expect("SQL");
    }

    async fn ids(&self, sql: &str) -> Vec<Uuid> {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(self.pool()).await.expect("ids")
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(self.pool()).await.expect("a number")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Got {
        let answer = request.header("cookie", &self.cookie).send().await.expect("an answer");
        let location = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
        Got { status: answer.status().as_u16(), location, html: answer.text().await.expect("a page") }
    }

    async fn get(&self, path: &str) -> Got {
        self.get_in(path, "en").await
    }

    async fn get_in(&self, path: &str, language: &str) -> Got {
        self.send(browser().get(format!("{}{path}", self.base)).header("accept-language", language)).await
    }

    async fn post(&self, path: &str, form: &[(String, String)]) -> Got {
        self.send(browser().post(format!("{}{path}", self.base)).header("accept-language", "en").form(form)).await
    }

    /// The ids that a list shows, in its order.
    async fn listed(&self, path: &str) -> Vec<Uuid> {
        let got = self.get(path).await;
        assert_eq!(got.status, 200, "{path}: {}", got.html);
        got.rows()
    }

    /// Exports of one source each state, and so on: what the filters are tried on.
    async fn fill(&self) {
        self.sql(FILL).await;
    }
}

impl Got {
    fn rows(&self) -> Vec<Uuid> {
        self.html.split("<tr id=\"e-").skip(1).map(|rest| rest[..36].parse().expect("an id")).collect()
    }

    /// The fields of the page's form to this address, as a browser would send them.
    fn form(&self, action: &str) -> Vec<(String, String)> {
        let form = self.html.split("<form").find(|form| form.contains(&format!("action=\"{action}\""))).expect("a form");
        let form = form.split("</form>").next().expect("its end");
        let attribute = |tag: &str, name: &str| {
            let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
            Some(value.replace("&#34;", "\"").replace("&#39;", "'").replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&"))
        };
        let hidden = form.split("<input").skip(1).filter(|tag| tag.contains("type=\"hidden\""));
        hidden.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?))).collect()
    }

    /// A number that the page names for tests and scripts.
    fn count(&self, id: &str) -> Option<i64> {
        self.html.split(&format!("id=\"{id}\" data-count=\"")).nth(1)?.split('"').next()?.parse().ok()
    }

    fn links(&self) -> Vec<String> {
        let all = self.html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        all.map(|link| link.replace("&#38;", "&").replace("&amp;", "&")).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "a browser, not a worker")]
fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).build().expect("a client")
}

/// 180 exports: every state, two servers, Groups and none, types and all, days apart. Nobody asks the same.
const FILL: &str = "
INSERT INTO bulkhead.sources (id, identity, base_url, auth)
SELECT gen_random_uuid(), convert_to('test' || n, 'UTF8'), (ARRAY['http://one.example/fhir', 'https://two.example:8443/r4', 'http://one.example/fhir'])[n], 'open'
  FROM generate_series(1, 3) n;
WITH made AS (
    SELECT n, gen_random_uuid() AS id,
           (ARRAY['queued', 'authenticating', 'kicking_off', 'in_progress', 'downloading', 'loading', 'completed', 'failed', 'cancelled'])[1 + n % 9] AS state
      FROM generate_series(1, 180) n)
INSERT INTO bulkhead.exports (id, source_id, level, group_id, resource_types, same_as, state, status_url, manifest_pages, manifest_complete,
                              created_at, started_at, finished_at, failed_from, failure_stage, failure_reason, failure_detail, failure_remedy)
SELECT id, (SELECT s.id FROM bulkhead.sources s WHERE identity = convert_to('test' || 1 + n / 9 % 3, 'UTF8')),
       CASE WHEN n % 11 = 0 THEN 'patient' ELSE 'group' END, CASE WHEN n % 11 = 0 THEN NULL ELSE 'Group-' || n % 7 END,
       CASE n % 3 WHEN 0 THEN '{}'::text[] WHEN 1 THEN '{Patient}' ELSE '{Patient,Condition}' END, uuid_send(id), state,
       'http://one.example/status/' || id, 1, state = 'completed', clock_timestamp() - n * interval '2 hours' - interval '30 minutes', clock_timestamp() - n * interval '2 hours' - interval '29 minutes',
       CASE WHEN state IN ('completed', 'failed', 'cancelled') THEN clock_timestamp() - n * interval '2 hours' END,
       CASE WHEN state = 'failed' THEN 'queued' END, CASE WHEN state = 'failed' THEN 'auth' END,
       CASE WHEN state = 'failed' THEN (ARRAY['unreachable', 'incomplete', 'credentials'])[1 + n / 9 % 3] END,
       CASE WHEN state = 'failed' THEN 'It failed.' END, CASE WHEN state = 'failed' THEN 'Retry it.' END
  FROM made;
INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, state, attempt, max_attempts)
SELECT gen_random_uuid(), id, source_id, 'auth', 'control', 'dead', 2, 8 FROM bulkhead.exports WHERE state = 'failed'";
