//! The harness: a real Postgres, the real router, real worker processes, and the sandbox as the FHIR server.

pub mod app;
pub mod bench;
pub mod browser;
pub mod connect_proxy;
pub mod database;
pub mod front;
pub mod history;
pub mod house;
pub mod later;
pub mod mix;
pub mod pages;
pub mod places;
pub mod proxy;
pub mod rows;
pub mod settings_table;
pub mod tls_proxy;
pub mod weight;
pub mod worker;

pub use app::{App, Setup};
pub use browser::Browser;
pub use bulkhead_sandbox::{Sandbox, SandboxConfig};
pub use connect_proxy::ConnectProxy;
pub use database::Database;
pub use front::{Front, Says};
pub use later::Later;
pub use pages::Pages;
pub use proxy::PlainProxy;
pub use tls_proxy::TlsProxy;
pub use worker::Worker;
