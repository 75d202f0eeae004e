//! The one machine's admin: made at the first start, with a password that is told once; `password` makes another.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bulkhead_api::access::{
    accounts::{self, TokenWanted},
    secret,
};
use bulkhead_shared::{
    db::{self, api_tokens, users},
    domain::{audit::Actor, role::Role},
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;

use crate::{
    cli::Machine,
    data_dir::DataDir,
    postgres::{Options, Postgres, PostgresError},
};

pub const NAME: &str = "admin";
/// The token of a `demo` or an `export` that lets itself in; it is revoked when that ends.
const OWN_TOKEN: &str = "this machine";
const OWN_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

fn pool(database_url: &str) -> anyhow::Result<PgPool> {
    Ok(db::pool(database_url, "bulkhead-admin", 1)?)
}

/// The first admin's password, where there was no user yet.
pub async fn first(database_url: &str) -> anyhow::Result<Option<SecretString>> {
    let pool = pool(database_url)?;
    let made = if users::list(&pool).await?.is_empty() { Some(add(&pool).await?) } else { None };
    pool.close().await;
    Ok(made)
}

async fn add(pool: &PgPool) -> anyhow::Result<SecretString> {
    let password = secret::password();
    let made = accounts::add_user(pool, &Actor::command_line(), NAME, Role::Admin, password.clone()).await;
    made.context("the first admin could not be made")?;
    Ok(password)
}

/// The line that says how to log in.
pub fn line(machine: &Machine, made: Option<&SecretString>) -> String {
    if let Some(password) = made {
        return format!("log in as                 {NAME}, password {} (shown once; keep it)", password.expose_secret());
    }
    let folder = machine.data_dir.as_ref().map_or_else(String::new, |folder| format!(" --data-dir {}", folder.display()));
    format!("log in                    as before; if the password is lost: bulkhead{folder} password")
}

/// `password`: another password for a user. The service may run, or not.
pub async fn new_password(machine: &Machine, name: &str) -> anyhow::Result<ExitCode> {
    let (database_url, postgres) = reach(machine).await?;
    let done = set(&database_url, name).await;
    if let Some(postgres) = postgres {
        postgres.stop().await?;
    }
    let password = done?;
    // The password alone on stdout, for whoever pipes it on.
    println!("{}", password.expose_secret());
    eprintln!("{name} logs in with this password now, and is logged out everywhere. It is not shown again.");
    Ok(ExitCode::SUCCESS)
}

async fn set(database_url: &str, name: &str) -> anyhow::Result<SecretString> {
    let pool = pool(database_url)?;
    db::check_connection(&pool, database_url).await?;
    db::check_version(&pool).await?;
    let known = users::list(&pool).await?;
    let Some(user) = known.iter().find(|user| user.name.to_lowercase() == name.to_lowercase()) else {
        if known.is_empty() && name == NAME {
            return add(&pool).await;
        }
        let names: Vec<&str> = known.iter().map(|user| user.name.as_str()).collect();
        bail!("there is no user {name:?}; there is: {}", names.join(", "));
    };
    if user.disabled_at.is_some() {
        bail!("{} is disabled; another admin can enable the user on the page Users", user.name);
    }
    let password = secret::password();
    accounts::set_password(&pool, &Actor::command_line(), user, password.clone(), None).await?;
    pool.close().await;
    Ok(password)
}

/// The database of this machine: as it runs, else started for the moment.
async fn reach(machine: &Machine) -> anyhow::Result<(String, Option<Postgres>)> {
    if let Some(url) = &machine.database_url {
        return Ok((url.clone(), None));
    }
    let data = DataDir::open(machine.data_dir.as_deref(), true)?;
    if !data.has_database() {
        bail!("there is no Bulkhead in {} yet; pass the --data-dir of the one that is meant", data.root().display());
    }
    match Postgres::start(data.root(), Options::default()).await {
        Ok(postgres) => {
            let url = postgres.url();
            db::migrate(&url).await?;
            Ok((url, Some(postgres)))
        }
        Err(PostgresError::InUse(_)) => {
            let url = Postgres::url_of_running(data.root()).context("Bulkhead is just starting or stopping here; try again in a moment")?;
            Ok((url, None))
        }
        Err(error) => Err(error.into()),
    }
}

/// A token for this very program, where the API asks who calls.
pub async fn own_token(database_url: &str) -> anyhow::Result<SecretString> {
    revoke_own_token(database_url).await?;
    let pool = pool(database_url)?;
    let wanted = TokenWanted { name: OWN_TOKEN, role: Role::Operator, owner: None, lifetime: Some(OWN_LIFETIME) };
    let token = accounts::add_token(&pool, &Actor::command_line(), &wanted).await?;
    pool.close().await;
    Ok(token)
}

pub async fn revoke_own_token(database_url: &str) -> anyhow::Result<()> {
    let pool = pool(database_url)?;
    for token in api_tokens::list(&pool, None).await? {
        if token.user_id.is_none() && token.name == OWN_TOKEN {
            accounts::revoke_token(&pool, &Actor::command_line(), token.id, None).await?;
        }
    }
    pool.close().await;
    Ok(())
}
