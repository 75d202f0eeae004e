//! The web pages of a test: the real router on a port of its own, with real logins.

use std::net::SocketAddr;

use bulkhead_api::{
    Access, ApiAuth, ApiState,
    access::{
        accounts,
        login::{self, Attempt, Outcome},
    },
};
use bulkhead_shared::{
    db,
    domain::{audit::Actor, outgoing::OutgoingRules, role::Role},
    secrets::Cipher,
};
use secrecy::ExposeSecret as _;
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

use crate::{Database, app::secret_key};

/// Everybody's, in tests.
pub const PASSWORD: &str = "four words in a row";
/// The session's cookie.
pub const COOKIE: &str = "bulkhead_session";

/// Pages that want a login.
pub struct Pages {
    /// `http://127.0.0.1:PORT`
    pub address: String,
    state: ApiState,
    task: JoinHandle<()>,
}

impl Pages {
    /// Serves them over a database.
    ///
    /// # Panics
    /// If they do not start.
    pub async fn start(database: &Database) -> Self {
        let state = state(database);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        Self { address, task: serve(listener, &state), state }
    }

    /// Nobody answers any more.
    ///
    /// # Panics
    /// If it does not stop.
    pub async fn stop(&mut self) {
        self.state.stopping.cancel();
        (&mut self.task).await.expect("it stops");
    }

    /// After [`Self::stop`]: at the same address.
    ///
    /// # Panics
    /// If they do not start.
    pub async fn start_again(&mut self, database: &Database) {
        let address = self.address.trim_start_matches("http://");
        let listener = TcpListener::bind(address).await.expect("the same port");
        self.state = state(database);
        self.task = serve(listener, &self.state);
    }

    /// Somebody who may log in with [`PASSWORD`].
    ///
    /// # Panics
    /// If the name is taken.
    pub async fn user(&self, name: &str, role: Role) -> Uuid {
        accounts::add_user(&self.state.pool, &Actor::command_line(), name, role, PASSWORD.into()).await.expect("a user")
    }

    /// Logs in as the form does, and returns the cookie's value.
    ///
    /// # Panics
    /// If the login is refused.
    pub async fn log_in(&self, name: &str) -> String {
        let attempt = Attempt { name, password: PASSWORD.into(), address: None, user_agent: None };
        let Outcome::In(cookie) = login::log_in(&self.state, attempt).await.expect("an answer") else { panic!("{name} may not log in") };
        cookie.expose_secret().to_owned()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn state(database: &Database) -> ApiState {
    let pool = db::pool(&database.url, "bulkhead-pages", 12).expect("a pool");
    let cipher = Cipher::from_base64(&secret_key()).expect("a key");
    let access = Access { pages: ApiAuth::Required, ..Access::default() };
    ApiState { access, ..ApiState::new(pool, cipher, OutgoingRules::default(), 20) }
}

fn serve(listener: TcpListener, state: &ApiState) -> JoinHandle<()> {
    let router = bulkhead_api::pages_router(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let stopped = state.stopping.clone().cancelled_owned();
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
    })
}
