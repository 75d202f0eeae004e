//! `check`: what an export would need, tried step by step.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    cli::Machine,
    client::Client,
    export::{base_url, read_json, with_service},
};

/// No server takes longer in all steps together.
const PATIENCE: Duration = Duration::from_secs(11 * 60);

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The body of a kick-off as a JSON file
    #[arg(long, conflicts_with_all = ["config", "fhir_url", "group"])]
    pub file: Option<PathBuf>,
    /// The JSON downloaded from the SMART page ("Download as JSON"); none for an open server
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// The FHIR server, if the configuration does not name it
    #[arg(long)]
    pub fhir_url: Option<String>,
    /// The Group to export; without it the whole system is meant
    #[arg(long)]
    pub group: Option<String>,
    /// Only these resource types, comma-separated
    #[arg(long = "type", value_delimiter = ',')]
    pub types: Vec<String>,
}

/// Submits it, waits, tells each step in words.
pub async fn run(machine: &Machine, arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let body = body(arguments)?;
    with_service(machine, async |client| check(client, &body).await).await
}

fn body(arguments: &CheckArguments) -> anyhow::Result<Value> {
    let mut body = if let Some(path) = &arguments.file {
        read_json(path)?
    } else {
        let config = arguments.config.as_deref().map(read_json).transpose()?;
        if config.is_none() && arguments.fhir_url.is_none() {
            bail!("what is to be checked? Pass --file with the body of a kick-off, or --config, or --fhir-url");
        }
        let base = base_url(arguments.fhir_url.as_deref(), config.as_ref())?;
        let url = arguments.group.as_ref().map_or_else(|| base.clone(), |group| format!("{base}/Group/{group}"));
        let mut body = json!({ "fhir_server_url": url });
        if let Some(config) = config {
            body["config"] = config;
        }
        body
    };
    if !arguments.types.is_empty() {
        body["resource_types"] = json!(arguments.types);
    }
    Ok(body)
}

/// `true`: no step failed.
async fn check(client: &Client, body: &Value) -> anyhow::Result<bool> {
    let began = Instant::now();
    let mut answer = client.ask(Method::POST, "/api/bulk-data/check", Some(body), Some(10)).await?;
    while answer["finished_at"].is_null() {
        if began.elapsed() > PATIENCE {
            bail!("no worker has made the check; does one run?");
        }
        let path = answer["status_url"].as_str().context("the API's answer has no status_url")?.to_owned();
        answer = client.ask(Method::GET, &path, None, Some(10)).await?;
    }
    let word = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    for step in answer["steps"].as_array().into_iter().flatten() {
        println!("{:<9} {:<13} {}", word(step, "result"), word(step, "step"), word(step, "message"));
        if let Some(remedy) = step["remedy"].as_str() {
            println!("{:<9} {:<13} -> {remedy}", "", "");
        }
    }
    for group in answer["groups"].as_array().into_iter().flatten() {
        let members = group["members"].as_u64().map(|members| format!(", {members} members")).unwrap_or_default();
        println!("  {:<36} {}{members}", word(group, "id"), word(group, "name"));
    }
    if let Some(error) = answer["error"].as_str() {
        println!("{error}\n-> {}", word(&answer, "remedy"));
    }
    Ok(answer["status"] == "done" && answer["result"] != "failed")
}
