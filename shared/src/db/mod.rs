//! The tables: one table, one file. All SQL is here, in `queue`, or next to the COPY in the worker.

pub mod access_tokens;
pub mod api_tokens;
pub mod audit_log;
pub mod cool_downs;
pub mod deletions;
pub mod export_events;
pub mod export_files;
pub mod exports;
pub mod fhir;
pub mod file_parts;
pub mod login_limits;
pub mod orphan_exports;
pub mod rejected_lines;
pub mod resources;
pub mod rows_of_patients;
pub mod sessions;
pub mod signing_keys;
pub mod sources;
pub mod stages;
pub mod summaries;
pub mod users;
pub mod workers;

use std::time::Duration;

use sqlx::{
    PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions, types::PgInterval},
};

use crate::domain::UnknownWord;

/// `migrations/`, with its ledger in our own schema: the database's search_path must not decide where it is.
#[must_use]
pub fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations");
    migrator.dangerous_set_table_name("bulkhead._sqlx_migrations");
    migrator.create_schema("bulkhead");
    migrator
}

/// Why the database cannot be used. Never holds the URL's password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("DATABASE_URL is not a Postgres URL; it looks like postgres://user:password@host:5432/database")]
    Url,
    #[error("cannot connect to Postgres at {place}: {cause}; is it running, and is DATABASE_URL right?")]
    Connect { place: String, cause: String },
    #[error("the database has no Bulkhead tables of this version (it is at {found}, {needed} is needed); run `bulkhead-api migrate`")]
    Version { found: i64, needed: i64 },
    #[error("Postgres {0} is too old; Bulkhead needs 14 or later")]
    Old(i32),
    #[error("migration failed: {0}")]
    Migrate(String),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// How long a process may be silent in the middle of a transaction, in milliseconds. A stopped process (SIGSTOP, a frozen
/// machine) would otherwise hold its locks, and everybody who needs them, for as long as it is stopped.
const SILENCE: &str = "5000";

/// Options for a connection, with short server-side limits: a vanished or stopped client must not hold locks.
pub fn options(database_url: &str, application: &str) -> Result<PgConnectOptions, DatabaseError> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| database_url.starts_with(scheme)) {
        return Err(DatabaseError::Url);
    }
    let options: PgConnectOptions = database_url.parse().map_err(|_| DatabaseError::Url)?;
    Ok(options.application_name(application).options([
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "3"),
        ("tcp_keepalives_count", "3"),
        ("idle_in_transaction_session_timeout", SILENCE),
    ]))
}

/// A pool that connects when first used.
pub fn pool(database_url: &str, application: &str, size: u32) -> Result<PgPool, DatabaseError> {
    Ok(PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(10))
        .connect_lazy_with(options(database_url, application)?))
}

/// Creates or updates our tables and apalis'. Safe to run twice at once.
pub async fn migrate(database_url: &str) -> Result<(), DatabaseError> {
    let pool = pool(database_url, "bulkhead-migrate", 2)?;
    check_connection(&pool, database_url).await?;
    apalis_postgres::PostgresStorage::setup(&pool).await.map_err(|e| DatabaseError::Migrate(format!("the queue's tables: {e}")))?;
    migrator().run(&pool).await.map_err(|e| DatabaseError::Migrate(e.to_string()))?;
    pool.close().await;
    Ok(())
}

/// Connects once and says in words what is wrong.
pub async fn check_connection(pool: &PgPool, database_url: &str) -> Result<(), DatabaseError> {
    let version: i32 = match sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(pool).await {
        Ok(version) => version,
        Err(cause) => {
            let options = options(database_url, "")?;
            let place = options
                .get_socket()
                .map_or_else(|| format!("{}:{}", options.get_host(), options.get_port()), |socket| socket.display().to_string());
            return Err(DatabaseError::Connect { place, cause: cause.to_string() });
        }
    };
    if version < 140_000 { Err(DatabaseError::Old(version / 10_000)) } else { Ok(()) }
}

/// The database has at least the migrations this program was built with.
pub async fn check_version(pool: &PgPool) -> Result<(), DatabaseError> {
    let needed = migrator().iter().map(|m| m.version).max().unwrap_or(0);
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM bulkhead._sqlx_migrations WHERE success")
        .fetch_one(pool)
        .await
        .or_else(|e| match code(&e).as_deref() {
            // No such table, no such schema: nothing was migrated yet.
            Some("42P01" | "3F000") => Ok(0),
            _ => Err(e),
        })?;
    if found < needed { Err(DatabaseError::Version { found, needed }) } else { Ok(()) }
}

/// No statement of this transaction takes longer from here on.
pub(crate) async fn at_most(db: &mut PgConnection, longest: Duration) -> sqlx::Result<()> {
    let millis = longest.as_millis().to_string();
    sqlx::query!("SELECT set_config('statement_timeout', $1, true)", millis).fetch_one(db).await?;
    Ok(())
}

/// The statement's own limit ended it.
#[must_use]
pub fn took_too_long(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("57014")
}

/// A text of the statement holds a NUL, which no text in Postgres can.
#[must_use]
pub fn has_nul(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("22021")
}

fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code)
}

/// A duration as Postgres takes it.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// The connection is gone or Postgres is not there: nothing is wrong with what we asked.
#[must_use]
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // 57P: shutdown, crash, starting up; 08: connection; 53300: too many connections; 25P03: we were silent too long.
        sqlx::Error::Database(e) => e
            .code()
            .is_some_and(|code| code.starts_with("57P") || code.starts_with("08") || matches!(code.as_ref(), "53300" | "25006" | "25P03")),
        _ => false,
    }
}

impl From<UnknownWord> for sqlx::Error {
    fn from(error: UnknownWord) -> Self {
        Self::Decode(Box::new(error))
    }
}
