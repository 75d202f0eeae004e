//! The commands. What a program reads goes to stdout, words for people to stderr. A password comes from a prompt or from
//! stdin, never from an argument; a token is printed once.

pub mod health;
mod program;
pub mod reseal;
pub mod tokens;
pub mod users;

use std::io::{BufRead, IsTerminal as _};

use anyhow::Context as _;
use bulkhead_shared::{
    config::{DatabaseSettings, LogSettings},
    db,
};
use clap::Args;
pub use program::program;
use secrecy::SecretString;
use sqlx::PgPool;

/// Where the users and tokens are.
#[derive(Debug, Clone, Args)]
pub struct Place {
    #[command(flatten)]
    pub database: DatabaseSettings,
    #[command(flatten)]
    pub log: LogSettings,
}

async fn connect(place: &Place) -> anyhow::Result<PgPool> {
    let url = &place.database.database_url;
    let pool = db::pool(url, "bulkhead-accounts", 2)?;
    db::check_connection(&pool, url).await?;
    db::check_version(&pool).await?;
    Ok(pool)
}

/// A new password: twice from the terminal, without showing it; or the first line of stdin.
pub fn ask_password() -> anyhow::Result<SecretString> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return read_password(&mut stdin.lock());
    }
    let first = rpassword::prompt_password("New password: ").context("the terminal gives no password")?;
    let again = rpassword::prompt_password("Again: ").context("the terminal gives no password")?;
    if first != again {
        anyhow::bail!("the two passwords differ; try again");
    }
    Ok(first.into())
}

fn read_password(from: &mut dyn BufRead) -> anyhow::Result<SecretString> {
    let mut line = String::new();
    from.read_line(&mut line).context("stdin gives no password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned().into())
}
