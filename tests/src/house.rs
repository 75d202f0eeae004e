//! A house with doors: the API and the pages, both asking who calls, and people who come to them.

use std::{net::SocketAddr, time::Duration};

use bulkhead_api::{
    Access, ApiAuth, ApiState,
    access::{
        accounts::{self, TokenWanted},
        secret,
    },
};
use bulkhead_shared::{
    db::{
        sessions::{self, NewSession},
        users,
    },
    domain::{audit::Actor, outgoing::OutgoingRules, role::Role},
    secrets::Cipher,
};
use reqwest::{Method, header, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{Database, app::secret_key};

/// Everybody's in these tests.
pub const PASSWORD: &str = "four words in a row";

/// Both faces of one service.
pub struct House {
    pub state: ApiState,
    pub api: String,
    pub pages: String,
    _database: Database,
}

/// A browser that is logged in.
#[derive(Clone)]
pub struct Browser {
    pub cookie: String,
    pub csrf: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub location: String,
    pub text: String,
}

impl Answer {
    /// The password or token that a page shows once.
    ///
    /// # Panics
    /// If it shows none.
    pub fn secret(&self) -> String {
        let shown = self.text.split("id=\"secret\" tabindex=\"0\">").nth(1).and_then(|rest| rest.split('<').next());
        shown.unwrap_or_else(|| panic!("nothing is shown: {}", self.text)).to_owned()
    }
}

impl House {
    /// As in production: nobody is let in unasked.
    pub async fn start() -> Self {
        Self::start_with(Access { api: ApiAuth::Required, ..Access::default() }).await
    }

    /// With settings of its own.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_with(access: Access) -> Self {
        let database = Database::shared().await;
        let cipher = Cipher::from_base64(&secret_key()).expect("a key");
        let state = ApiState::new(database.pool.clone(), cipher, OutgoingRules::default(), 20);
        let state = ApiState { access, ..state };
        let api = serve(bulkhead_api::router(state.clone())).await;
        let pages = serve(bulkhead_api::pages_router(state.clone())).await;
        Self { state, api, pages, _database: database }
    }

    /// A new user.
    ///
    /// # Panics
    /// If there is one of that name.
    pub async fn user(&self, name: &str, role: Role) -> users::User {
        accounts::add_user(&self.state.pool, &Actor::command_line(), name, role, PASSWORD.into()).await.expect("a user");
        self.known(name).await
    }

    /// A user as it is now.
    ///
    /// # Panics
    /// If there is none of that name.
    pub async fn known(&self, name: &str) -> users::User {
        users::by_name(&self.state.pool, name).await.expect("SQL").expect("it is there")
    }

    /// A user's token.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn token(&self, name: &str, of: &users::User) -> SecretString {
        let wanted = TokenWanted { name, role: of.role, owner: Some((of.id, of.role)), lifetime: None };
        accounts::add_token(&self.state.pool, &Actor::command_line(), &wanted).await.expect("a token")
    }

    /// A browser in which the user has logged in, without the work of a password.
    ///
    /// # Panics
    /// If Postgres refuses it.
    pub async fn browser(&self, user: &users::User) -> Browser {
        let token = secret::session();
        let new = NewSession {
            user_id: user.id,
            token_hash: &secret::hash(token.expose_secret()),
            address: Some("192.0.2.7"),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            lifetime: Duration::from_secs(3600),
        };
        sessions::insert(&self.state.pool, &new).await.expect("a session");
        let cookie = format!("bulkhead_session={}", token.expose_secret());
        let page = self.ask(Method::GET, &self.pages, "/account", &[("cookie", &cookie)], None).await;
        let csrf = page.text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        Browser { csrf: csrf.unwrap_or_else(|| panic!("no form: {page:?}")).to_owned(), cookie }
    }

    /// Any request; redirects are not followed.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn ask(&self, method: Method, base: &str, path: &str, headers: &[(&str, &str)], form: Option<&[(&str, &str)]>) -> Answer {
        let mut request = client().request(method, format!("{base}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(form) = form {
            request = request.form(form);
        }
        let answer = request.send().await.expect("an answer");
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let status = answer.status().as_u16();
        // A stream has no end; what is asked of it here is whether it begins.
        let stream = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let text = if stream { String::new() } else { answer.text().await.expect("a body") };
        Answer { status, location, text }
    }

    /// A page, as the browser sees it.
    pub async fn get(&self, browser: &Browser, path: &str) -> Answer {
        self.ask(Method::GET, &self.pages, path, &[("cookie", &browser.cookie)], None).await
    }

    /// A form of a page, sent by the browser.
    pub async fn post(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
        let all = [&[("csrf", browser.csrf.as_str())], fields].concat();
        self.ask(Method::POST, &self.pages, path, &[("cookie", &browser.cookie)], Some(&all)).await
    }

    /// Statements of the test's own.
    ///
    /// # Panics
    /// If Postgres refuses them.
    pub async fn sql(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.state.pool).await.expect("SQL");
    }

    /// What stands in the audit log: the acts in order.
    ///
    /// # Panics
    /// If it cannot be read.
    pub async fn acts(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT act FROM bulkhead.audit_log ORDER BY id").fetch_all(&self.state.pool).await.expect("the log")
    }
}

/// A browser or a program, not a worker.
#[expect(clippy::disallowed_methods, reason = "the tests are a user of the API, not a worker")]
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).build().expect("a client")
}

async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await });
    base
}
