//! The HTTP API: takes exports in, tells how they are, and lets people act on them. It never calls out; what it
//! hands to the workers is a row and a stage, committed together.

pub mod access;
mod acts;
mod announcer;
mod answer;
mod canonical;
mod changes;
pub mod command;
mod data;
mod headers;
mod hosts;
pub mod keys;
mod openapi;
mod pages;
mod problem;
mod request;
mod routes;
mod serve;
mod settings;
mod story;
mod submit;

use std::sync::Arc;

use bulkhead_shared::{domain::outgoing::OutgoingRules, secrets::Cipher};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use access::{Access, ApiAuth};
pub use announcer::Announcer;
pub use changes::Changes;
pub use hosts::Hosts;
pub use openapi::document as openapi;
pub use problem::Kind as ProblemKind;
pub use routes::{doors, pages_router, router};
pub use serve::{CONNECTIONS, serve};
pub use settings::ApiSettings;

/// What the routes work with.
#[derive(Debug, Clone)]
pub struct ApiState {
    pub pool: PgPool,
    pub cipher: Cipher,
    pub rules: OutgoingRules,
    /// Of the stages it enqueues (RETRY_MAX_ATTEMPTS).
    pub max_attempts: i32,
    pub hosts: Hosts,
    /// How callers are told apart.
    pub access: Access,
    pub announcer: Arc<Announcer>,
    /// Of exports that somebody waits for.
    pub changes: Arc<Changes>,
    /// Cancelled when the service stops: nobody is kept waiting then.
    pub stopping: CancellationToken,
}

impl ApiState {
    /// As on one machine: answers to loopback names only, see [`Hosts`]; the API is open, see [`Access`].
    #[must_use]
    pub fn new(pool: PgPool, cipher: Cipher, rules: OutgoingRules, max_attempts: i32) -> Self {
        let changes = Arc::new(Changes::of(pool.clone()));
        let announcer = Arc::new(Announcer::of(pool.clone()));
        Self {
            pool,
            cipher,
            rules,
            max_attempts,
            hosts: Hosts::default(),
            access: Access::default(),
            announcer,
            changes,
            stopping: CancellationToken::new(),
        }
    }
}
