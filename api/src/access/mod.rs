//! Who calls, and what they may do. A caller is a user with a session (cookie), a program with a token (`Authorization: Bearer`), or,
//! where the listener is open, anybody. `routes` says for each route which role it needs; `admit` lets in who has it.

pub mod accounts;
mod address;
mod admit;
mod caller;
pub mod cookie;
mod csrf;
pub mod login;
pub mod password;
pub mod secret;

use std::time::Duration;

use bulkhead_shared::domain::role::Role;
use clap::ValueEnum;
use ipnet::IpNet;

pub use address::{client, is_https};
pub use admit::{Door, Surface, admit};
pub use caller::{Caller, Session, still_valid};
pub use csrf::FIELD as CSRF_FIELD;

/// Whether callers are asked who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApiAuth {
    /// Nobody is asked; everybody who reaches the port may do what an operator may
    Open,
    /// A token or a login
    Required,
}

/// What somebody in an open house may do: everything but users, tokens and the audit log.
pub const OPEN_ROLE: Role = Role::Operator;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Everybody may: health, our public keys.
    Nothing,
    /// Everybody may, and who is in already is known: the login.
    Greeting,
    Role(Role),
}

/// How callers are told apart.
#[derive(Debug, Clone)]
pub struct Access {
    /// Of the HTTP API.
    pub api: ApiAuth,
    /// Of the pages.
    pub pages: ApiAuth,
    /// How long a session may be left alone.
    pub session_idle: Duration,
    /// How long a session lasts, however much it is used.
    pub session_lifetime: Duration,
    /// Whose word counts on where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Access {
    /// As on one machine: the API is open, the pages want a login.
    fn default() -> Self {
        Self {
            api: ApiAuth::Open,
            pages: ApiAuth::Required,
            session_idle: Duration::from_secs(8 * 3600),
            session_lifetime: Duration::from_secs(7 * 86_400),
            trusted_proxies: Vec::new(),
        }
    }
}
