//! Databases for tests: one server a test process, migrated once, copied for each test.

use bulkhead_local::postgres::Postgres;
use bulkhead_shared::db;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::bench::Durable;

static SERVER: OnceCell<Postgres> = OnceCell::const_new();
const TEMPLATE: &str = "template_bulkhead";

/// A database of a test's own.
pub struct Database {
    pub url: String,
    pub pool: PgPool,
    /// A server of its own, for tests that stop it.
    pub server: Option<Postgres>,
    /// Where a durable one is; gone after the server.
    _folder: Option<TempDir>,
}

impl Database {
    /// A fresh copy on the shared server.
    pub async fn shared() -> Self {
        let server = SERVER
            .get_or_init(|| async {
                let server = Postgres::start_for_tests().await.expect("a Postgres for the tests");
                let url = server.create_database(TEMPLATE, None).await.expect("the template");
                prepare(&server, TEMPLATE).await;
                db::migrate(&url).await.expect("migrations");
                server
            })
            .await;
        let name = format!("test_{}", Uuid::new_v4().simple());
        let url = server.create_database(&name, Some(TEMPLATE)).await.expect("a copy of the template");
        search_path(&url, &name).await;
        Self::connect(url, None)
    }

    /// A database on a server of its own.
    pub async fn own() -> Self {
        let server = Postgres::start_for_tests().await.expect("a Postgres for the test");
        let url = server.url();
        db::migrate(&url).await.expect("migrations");
        Self::connect(url, Some(server))
    }

    /// A database as a user has it, for measuring.
    pub async fn durable() -> Self {
        let Durable { url, server, folder, .. } = Durable::start().await;
        Self { _folder: Some(folder), ..Self::connect(url, Some(server)) }
    }

    /// Writes everything to disk, so that what is measured next does not pay for what came before.
    ///
    /// # Panics
    /// On a shared server.
    pub async fn checkpoint(&self) {
        let server = self.server.as_ref().expect("a server of its own");
        let pool = db::pool(&server.admin_url("postgres"), "bulkhead-test", 1).expect("a pool");
        sqlx::query("CHECKPOINT").execute(&pool).await.expect("a checkpoint");
        pool.close().await;
    }

    fn connect(url: String, server: Option<Postgres>) -> Self {
        let pool = db::pool(&url, "bulkhead-test", 8).expect("a pool");
        Self { url, pool, server, _folder: None }
    }
}

/// The extensions that apalis wants, as the superuser of the database.
async fn prepare(server: &Postgres, database: &str) {
    let pool = db::pool(&server.admin_url(database), "bulkhead-test", 1).expect("a pool");
    for extension in ["hstore", "pgcrypto"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE EXTENSION IF NOT EXISTS {extension}")))
            .execute(&pool)
            .await
            .expect("an extension of Postgres' contrib");
    }
    pool.close().await;
}

/// A copied database does not get its template's settings.
async fn search_path(url: &str, name: &str) {
    let pool = db::pool(url, "bulkhead-test", 1).expect("a pool");
    sqlx::query(sqlx::AssertSqlSafe(format!("ALTER DATABASE {name} SET search_path TO bulkhead, fhir, public")))
        .execute(&pool)
        .await
        .expect("the owner may set it");
    pool.close().await;
}
