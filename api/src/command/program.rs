//! The program `bulkhead-api`.

use std::{ffi::OsString, process::ExitCode};

use bulkhead_shared::{
    config::{DatabaseSettings, LogSettings},
    db, telemetry,
};
use clap::{Parser, Subcommand};

use super::{
    ask_password,
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

/// Runs it with the process' arguments.
pub async fn program() -> ExitCode {
    let command = Arguments::parse_from(arguments(std::env::args_os().collect())).command;
    let log = match &command {
        Command::Serve(settings) => &settings.log,
        Command::Migrate { log, .. } => log,
        Command::Openapi => {
            print!("{}", crate::openapi());
            return ExitCode::SUCCESS;
        }
        Command::Keys(settings) => &settings.log,
        Command::Reseal(settings) => &settings.place.log,
        Command::Users(settings) => &settings.place.log,
        Command::Tokens(settings) => &settings.place.log,
    };
    if let Err(error) = telemetry::start(log) {
        eprintln!("bulkhead-api: {error:#}");
        return ExitCode::from(2);
    }
    let done = match command {
        Command::Serve(settings) => crate::serve(*settings).await,
        Command::Migrate { database, .. } => db::migrate(&database.database_url).await.map_err(Into::into),
        Command::Openapi => Ok(()),
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
