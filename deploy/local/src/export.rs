//! `export`: one shot, like the official client's command line.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli::Machine,
    client::Client,
    progress::{Progress, is_over},
    show::thousands,
    stack::Stack,
};

#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The JSON downloaded from the SMART page ("Download as JSON"); none for an open server
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Groups to export; several may be given
    #[arg(long, required = true, num_args = 1..)]
    pub group: Vec<String>,
    /// The FHIR server, if the configuration does not name it
    #[arg(long)]
    pub fhir_url: Option<String>,
    /// Only these resource types, comma-separated
    #[arg(long = "type", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Only what changed since then, e.g. 2023-01-01T00:00:00Z
    #[arg(long)]
    pub since: Option<String>,
    /// Complete even if something is missing; the findings say what
    #[arg(long)]
    pub accept_partial: bool,
}

/// Exports by the service that runs here, or by one that starts for it and stops after it.
pub async fn run(machine: &Machine, arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    let bodies = bodies(arguments)?;
    with_service(machine, async |client| export(client, &bodies).await).await
}

/// Asks the service that runs here, or one that starts for it and stops after it. `true` is success.
pub async fn with_service(machine: &Machine, ask: impl AsyncFnOnce(&Client) -> anyhow::Result<bool>) -> anyhow::Result<ExitCode> {
    let address = machine.api_listen.first().context("API_LISTEN names no address")?;
    let running = Client::new(*address, machine.token.clone());
    let (client, stack) = if running.is_ready().await {
        (running, None)
    } else {
        let mut stack = Stack::start(machine).await?;
        stack.let_itself_in().await?;
        (stack.client.clone(), Some(stack))
    };
    let done = ask(&client).await;
    if let Some(stack) = stack {
        stack.stop().await?;
    }
    Ok(if done? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Submits, watches, reports. `true`: everything is complete.
async fn export(client: &Client, bodies: &[(String, Value)]) -> anyhow::Result<bool> {
    let mut exports = Vec::new();
    for (group, body) in bodies {
        exports.push((client.kick_off(body).await?, group.clone()));
    }
    let ended = watch(client, &exports).await?;
    let mut all = true;
    for (job, group) in &exports {
        let status = &ended[job];
        let good = status["status"] == "completed";
        all &= good;
        let rows = thousands(status["records_loaded"].as_u64().unwrap_or(0));
        println!("{} {group}: {rows} resources (export {job})", if good { "✅" } else { "❌" });
        for name in ["error", "remedy"] {
            if let Some(text) = status[name].as_str() {
                println!("   {text}");
            }
        }
    }
    Ok(all)
}

/// A kick-off body for each Group.
fn bodies(arguments: &ExportArguments) -> anyhow::Result<Vec<(String, Value)>> {
    let config = arguments.config.as_deref().map(read_json).transpose()?;
    let base = base_url(arguments.fhir_url.as_deref(), config.as_ref())?;
    let body = |group: &String| {
        let mut body = json!({ "fhir_server_url": format!("{base}/Group/{group}"), "accept_partial": arguments.accept_partial });
        if let Some(config) = &config {
            body["config"] = config.clone();
        }
        if !arguments.types.is_empty() {
            body["resource_types"] = json!(arguments.types);
        }
        if let Some(since) = &arguments.since {
            body["since"] = json!(since);
        }
        (group.clone(), body)
    };
    Ok(arguments.group.iter().map(body).collect())
}

/// A file of JSON.
pub fn read_json(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| anyhow::anyhow!("{} is not JSON (line {})", path.display(), e.line()))
}

/// The FHIR server: as it was given, or as the downloaded configuration names it.
pub fn base_url(given: Option<&str>, config: Option<&Value>) -> anyhow::Result<String> {
    let named = config.and_then(|config| {
        ["fhir_url", "fhirUrl", "fhirURL", "fhir_server_url", "fhirServerUrl"]
            .iter()
            .find_map(|name| config[*name].as_str().map(str::to_owned))
    });
    let Some(base) = given.map(str::to_owned).or(named) else {
        bail!("the configuration names no FHIR server; pass it with --fhir-url");
    };
    Ok(base.trim_end_matches('/').to_owned())
}

/// Shows exports until all have ended; returns their last statuses.
pub async fn watch(client: &Client, exports: &[(Uuid, String)]) -> anyhow::Result<HashMap<Uuid, Value>> {
    let mut progress = Progress::new(exports);
    let mut ended: HashMap<Uuid, Value> = HashMap::new();
    while ended.len() < exports.len() {
        for (job, name) in exports.iter().filter(|(job, _)| !ended.contains_key(job)).cloned().collect::<Vec<_>>() {
            let status = client.status(job).await?;
            progress.show(job, &name, &status);
            if is_over(&status) {
                ended.insert(job, status);
            }
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    Ok(ended)
}
