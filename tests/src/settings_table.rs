//! Every setting of the programs, as the operator's guide shows them: made of what the programs read.

use std::fmt::Write as _;

use bulkhead_api::ApiSettings;
use bulkhead_worker::WorkerSettings;
use clap::{Arg, Command, CommandFactory as _};

/// A Markdown table: the variable, who reads it, its default, what it says. In the programs' order; shared ones once.
#[must_use]
pub fn settings_table() -> String {
    let (api, worker) = (ApiSettings::command(), WorkerSettings::command());
    let mut table = "| setting | of | default | |\n|---|---|---|---|\n".to_owned();
    for argument in settings(&worker) {
        let of = if find(&api, argument).is_some() { "both" } else { "worker" };
        row(&mut table, argument, of);
    }
    for argument in settings(&api).filter(|argument| find(&worker, argument).is_none()) {
        row(&mut table, argument, "api");
    }
    table
}

fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| argument.get_env().is_some())
}

fn find<'c>(command: &'c Command, like: &Arg) -> Option<&'c Arg> {
    settings(command).find(|argument| argument.get_env() == like.get_env())
}

fn row(table: &mut String, argument: &Arg, of: &str) {
    let name = argument.get_env().unwrap_or_default().to_string_lossy();
    let default = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ").replace('|', "\\|");
    let values: Vec<_> = argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let values = if values.is_empty() || values[0] == "`true`" { String::new() } else { format!(" ({})", values.join(", ")) };
    let _ = writeln!(table, "| `{name}` | {of} | {default} | {help}{values} |");
}
