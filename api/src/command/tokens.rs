//! `bulkhead-api tokens`: programs that may call.

use std::{io::Write, time::Duration};

use anyhow::Context as _;
use bulkhead_shared::{
    db::api_tokens,
    domain::{audit::Actor, role::Role},
};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use super::{Place, connect};
use crate::access::accounts::{self, TokenWanted};

/// Makes, lists and revokes tokens
#[derive(Debug, Clone, Args)]
pub struct TokenSettings {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// A new token; it is printed once
    Add {
        name: String,
        /// viewer, operator or admin
        #[arg(long)]
        role: Role,
        /// Days until it expires; 0: never
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(..=3650))]
        days: u32,
    },
    /// All tokens that are not revoked
    List,
    /// Good no longer: the installation's own token of this name, or any by its id
    Revoke { token: String },
}

/// Does it.
pub async fn run(settings: &TokenSettings, stdout: &mut (dyn Write + Send), stderr: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let pool = connect(&settings.place).await?;
    let actor = Actor::command_line();
    match &settings.what {
        What::Add { name, role, days } => {
            let lifetime = (*days > 0).then(|| Duration::from_secs(u64::from(*days) * 86_400));
            let token = accounts::add_token(&pool, &actor, &TokenWanted { name, role: *role, owner: None, lifetime }).await?;
            writeln!(stdout, "{}", token.expose_secret())?;
            writeln!(stderr, "This is shown once. Send it as `Authorization: Bearer ...`.")?;
        }
        What::List => {
            for token in api_tokens::list(&pool, None).await? {
                let expires = token.expires_at.map_or_else(|| "never".to_owned(), |at| at.format("%F").to_string());
                let used = token.last_used_at.map_or_else(|| "never".to_owned(), |at| at.format("%F %R").to_string());
                let owner = token.owner.unwrap_or_else(|| "-".to_owned());
                writeln!(stdout, "{}  {}  {}  of {owner}  expires {expires}  last used {used}", token.id, token.name, token.role)?;
            }
        }
        What::Revoke { token } => {
            let listed = api_tokens::list(&pool, None).await?;
            let named = |one: &&api_tokens::Listed| {
                one.id.to_string() == *token || (one.user_id.is_none() && one.name.to_lowercase() == token.to_lowercase())
            };
            let one = listed.iter().find(named).context("there is no such token; `bulkhead-api tokens list` lists those there are")?;
            accounts::revoke_token(&pool, &actor, one.id, None).await?;
            writeln!(stderr, "It is good no longer.")?;
        }
    }
    Ok(())
}
