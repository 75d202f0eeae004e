//! The role, the database and the extensions that Bulkhead expects. Every step looks first: any start may be the first.

use std::path::Path;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{DATABASE, PORT, PostgresError, ROLE};

const EXTENSIONS: [&str; 2] = ["hstore", "pgcrypto"];

pub(super) async fn prepare(socket_folder: &Path) -> Result<(), PostgresError> {
    let mut connection = connect(socket_folder, "postgres").await?;
    role_and_database(&mut connection).await.map_err(failed("postgres"))?;
    let _ = connection.close().await;

    let mut connection = connect(socket_folder, DATABASE).await?;
    for name in EXTENSIONS {
        extension(&mut connection, name).await?;
    }
    let _ = connection.close().await;
    Ok(())
}

/// Makes a database of `fhir_user`'s, as a copy of `template` where one is given.
pub(super) async fn create_database(socket_folder: &Path, name: &str, template: Option<&str>) -> Result<(), PostgresError> {
    let mut connection = connect(socket_folder, "postgres").await?;
    // Copying files beats logging every page; before 15 there was no other way and no word for it.
    let has_strategies = connection.server_version_num().is_some_and(|version| version >= 150_000);
    let strategy = if has_strategies { "STRATEGY FILE_COPY" } else { "" };
    let template = template.map(|name| format!("TEMPLATE {} {strategy}", identifier(name))).unwrap_or_default();
    let sql = format!("CREATE DATABASE {} OWNER {ROLE} {template}", identifier(name));
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(failed(name))?;
    let _ = connection.close().await;
    Ok(())
}

async fn role_and_database(connection: &mut PgConnection) -> sqlx::Result<()> {
    let role = sqlx::query("SELECT 1 FROM pg_roles WHERE rolname = $1").bind(ROLE);
    if role.fetch_optional(&mut *connection).await?.is_none() {
        sqlx::query(AssertSqlSafe(format!("CREATE ROLE {ROLE} LOGIN"))).execute(&mut *connection).await?;
    }
    let database = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(DATABASE);
    if database.fetch_optional(&mut *connection).await?.is_none() {
        let sql = format!("CREATE DATABASE {DATABASE} OWNER {ROLE}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn extension(connection: &mut PgConnection, name: &'static str) -> Result<(), PostgresError> {
    let found = sqlx::query("SELECT 1 FROM pg_extension WHERE extname = $1").bind(name);
    if found.fetch_optional(&mut *connection).await.map_err(failed(DATABASE))?.is_some() {
        return Ok(());
    }
    let made = sqlx::query(AssertSqlSafe(format!("CREATE EXTENSION {name}"))).execute(&mut *connection).await;
    match made {
        Ok(_) => Ok(()),
        // undefined_file before PostgreSQL 15 or so, feature_not_supported since
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("58P01" | "0A000")) => {
            Err(PostgresError::NoExtension { name })
        }
        Err(error) => Err(failed(DATABASE)(error)),
    }
}

async fn connect(socket_folder: &Path, database: &str) -> Result<PgConnection, PostgresError> {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(socket_folder)
        .port(PORT)
        .username("postgres")
        .database(database)
        .ssl_mode(PgSslMode::Disable);
    PgConnection::connect_with(&options).await.map_err(failed(database))
}

fn failed(database: &str) -> impl FnOnce(sqlx::Error) -> PostgresError {
    let database = database.to_owned();
    move |source| PostgresError::Prepare { database, source }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
