//! `bulkhead-api users`: who may log in.

use std::io::Write;

use anyhow::Context as _;
use bulkhead_shared::{
    db::{
        sessions,
        users::{self, User},
    },
    domain::{audit::Actor, role::Role},
};
use clap::{Args, Subcommand};
use secrecy::SecretString;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Place, connect};
use crate::access::{Access, accounts};

/// Adds, lists and changes users
#[derive(Debug, Clone, Args)]
pub struct UserSettings {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// A new user; the password is asked for, or read from stdin
    Add {
        name: String,
        /// viewer, operator or admin
        #[arg(long)]
        role: Role,
    },
    /// All users
    List,
    /// Another password; ends the user's sessions
    Password { name: String },
    /// Another role: viewer, operator or admin
    Role { name: String, role: Role },
    /// The user may log in no more, and is out
    Disable { name: String },
    /// The user may log in again
    Enable { name: String },
    /// The browsers in which a user is logged in
    Sessions { name: String },
    /// Ends a user's sessions, or one of them
    Revoke {
        name: String,
        #[arg(long)]
        session: Option<Uuid>,
    },
}

/// Does it. `password` is asked only where one is needed.
pub async fn run(
    settings: &UserSettings,
    password: impl FnOnce() -> anyhow::Result<SecretString>,
    stdout: &mut (dyn Write + Send),
    stderr: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let pool = connect(&settings.place).await?;
    let actor = Actor::command_line();
    match &settings.what {
        What::Add { name, role } => {
            accounts::add_user(&pool, &actor, name, *role, password()?).await?;
            writeln!(stderr, "{name} may log in.")?;
        }
        What::List => list(&pool, stdout).await?,
        What::Password { name } => {
            let user = find(&pool, name).await?;
            let ended = accounts::set_password(&pool, &actor, &user, password()?, None).await?;
            writeln!(stderr, "The password is changed; {ended} sessions ended.")?;
        }
        What::Role { name, role } => {
            accounts::set_role(&pool, &actor, &find(&pool, name).await?, *role).await?;
            writeln!(stderr, "{name} is {role} now.")?;
        }
        What::Disable { name } => {
            accounts::set_disabled(&pool, &actor, &find(&pool, name).await?, true).await?;
            writeln!(stderr, "{name} may log in no more, and is out.")?;
        }
        What::Enable { name } => {
            accounts::set_disabled(&pool, &actor, &find(&pool, name).await?, false).await?;
            writeln!(stderr, "{name} may log in again.")?;
        }
        What::Sessions { name } => {
            let user = find(&pool, name).await?;
            for one in sessions::of_user(&pool, user.id, Access::default().session_idle).await? {
                let address = one.address.unwrap_or_default();
                writeln!(stdout, "{}  {address}  last used {}", one.id, one.last_used_at.format("%F %R"))?;
            }
        }
        What::Revoke { name, session } => {
            let user = find(&pool, name).await?;
            match session {
                Some(session) => accounts::revoke_session(&pool, &actor, (user.id, &user.name), *session).await?,
                None => {
                    accounts::revoke_sessions(&pool, &actor, (user.id, &user.name), None).await?;
                }
            }
            writeln!(stderr, "Out at the next request.")?;
        }
    }
    Ok(())
}

async fn find(pool: &PgPool, name: &str) -> anyhow::Result<User> {
    users::by_name(pool, name).await?.context("there is no such user; `bulkhead-api users list` lists those there are")
}

async fn list(pool: &PgPool, stdout: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    for user in users::list(pool).await? {
        let state = if user.disabled_at.is_some() { "disabled" } else { "may log in" };
        let last = user.last_login_at.map_or_else(|| "never".to_owned(), |at| at.format("%F %R").to_string());
        writeln!(stdout, "{}  {}  {state}  last login {last}", user.name, user.role)?;
    }
    Ok(())
}
