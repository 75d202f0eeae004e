//! The program `bulkhead-api`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bulkhead_shared::{
    config::{DatabaseSettings, LogSettings},
    db,
    secrets::Cipher,
    telemetry,
};
use clap::{Parser, Subcommand};

use super::{
    ask_password,
    health::{self, HealthSettings},
    reseal::{self, ResealSettings},
    tokens::{self, TokenSettings},
    users::{self, UserSettings},
};
use crate::{
    ApiSettings,
    keys::{self, KeySettings},
};

/// Bulkhead's HTTP API
#[derive(Parser)]
#[command(name = "bulkhead-api", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default)
    Serve(Box<ApiSettings>),
    /// Print the description of the API (OpenAPI 3.1)
    Openapi,
    /// Create or update the database's tables; safe to run twice, also at once
    Migrate {
        #[command(flatten)]
        database: DatabaseSettings,
        #[command(flatten)]
        log: LogSettings,
    },
    /// Make a key pair of our own and print what to register (ES384); list or retire those there are
    Keys(Box<KeySettings>),
    /// Make the key that seals secrets, in a file that only its owner may read; an old one is left as it is
    SecretKey {
        /// The file
        path: PathBuf,
    },
    /// Ask the server of this machine whether it is ready
    Health(HealthSettings),
    /// Seal everything in the database with the present secret key, after the key was replaced
    Reseal(Box<ResealSettings>),
    /// Add, list and change users
    Users(Box<UserSettings>),
    /// Make, list and revoke tokens for programs
    Tokens(Box<TokenSettings>),
}

/// Without a subcommand it serves.
fn arguments(mut given: Vec<OsString>) -> Vec<OsString> {
    let first = given.get(1).and_then(|argument| argument.to_str());
    let top_level = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if first.is_none_or(|argument| argument.starts_with('-')) && !top_level {
        given.insert(1.min(given.len()), "serve".into());
    }
    given
}

/// What it logs, if it logs at all.
fn log(command: &Command) -> Option<&LogSettings> {
    match command {
        Command::Serve(settings) => Some(&settings.log),
        Command::Migrate { log, .. } => Some(log),
        Command::Keys(settings) => Some(&settings.log),
        Command::Reseal(settings) => Some(&settings.place.log),
        Command::Users(settings) => Some(&settings.place.log),
        Command::Tokens(settings) => Some(&settings.place.log),
        Command::Openapi | Command::SecretKey { .. } | Command::Health(_) => None,
    }
}

fn make_secret_key(path: &Path) -> anyhow::Result<()> {
    let what = if Cipher::make_file(path)? {
        "made; keep a copy of it elsewhere than the database's backup"
    } else {
        "there already; left as it is"
    };
    eprintln!("{}: {what}", path.display());
    // One that others may read, or that is none, is told now and not at the first start.
    Cipher::from_file(path)?;
    Ok(())
}

/// Runs it with the process' arguments.
pub async fn program() -> ExitCode {
    let command = Arguments::parse_from(arguments(std::env::args_os().collect())).command;
    if let Some(log) = log(&command)
        && let Err(error) = telemetry::start(log)
    {
        eprintln!("bulkhead-api: {error:#}");
        return ExitCode::from(2);
    }
    let done = match command {
        Command::Serve(settings) => crate::serve(*settings).await,
        Command::Migrate { database, .. } => db::migrate(&database.database_url).await.map_err(Into::into),
        Command::Openapi => {
            print!("{}", crate::openapi());
            Ok(())
        }
        Command::SecretKey { path } => make_secret_key(&path),
        Command::Health(settings) => health::run(&settings).await,
        Command::Keys(settings) => keys::run(&settings, &mut std::io::stdout(), &mut std::io::stderr()).await,
        Command::Reseal(settings) => reseal::run(&settings, &mut std::io::stdout()).await,
        Command::Users(settings) => users::run(&settings, ask_password, &mut std::io::stdout(), &mut std::io::stderr()).await,
        Command::Tokens(settings) => tokens::run(&settings, &mut std::io::stdout(), &mut std::io::stderr()).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulkhead-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_serves_unless_told_otherwise() {
        let of = |given: &[&str]| arguments(given.iter().map(OsString::from).collect()).get(1).cloned();
        assert_eq!(of(&["bulkhead-api"]), Some("serve".into()));
        assert_eq!(of(&["bulkhead-api", "--listen", "127.0.0.1:1"]), Some("serve".into()));
        assert_eq!(of(&["bulkhead-api", "migrate"]), Some("migrate".into()));
        assert_eq!(of(&["bulkhead-api", "--help"]), Some("--help".into()));
    }
}
