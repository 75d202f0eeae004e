//! `status`, `jobs`, `retry`, `cancel`: the running service's answers, for people.

use std::process::ExitCode;

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::client::Client;

/// 12345 -> 12,345.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}

pub async fn status(client: &Client, job: Uuid) -> anyhow::Result<ExitCode> {
    let status = client.status(job).await?;
    println!("export      {job}");
    println!("what        {} of {}", word(&status, "group_id"), word(&status, "fhir_server_url"));
    println!("status      {}", word(&status, "status"));
    for name in ["progress", "error", "remedy", "status_url", "transaction_time"] {
        if let Some(text) = status[name].as_str() {
            println!("{name:<11} {text}");
        }
    }
    println!("resources   {}", thousands(status["records_loaded"].as_u64().unwrap_or(0)));
    for file in status["files"].as_array().into_iter().flatten() {
        let rows = thousands(file["rows"].as_u64().unwrap_or(0));
        println!("  file {:>4}  {:<24} {:<11} {rows:>9} rows", file["n"], word(file, "type"), word(file, "state"));
    }
    for finding in status["findings"].as_array().into_iter().flatten() {
        println!("  {}: {}", word(finding, "severity"), word(finding, "message"));
    }
    for event in status["events"].as_array().into_iter().flatten() {
        println!("  {}  {}", word(event, "at"), word(event, "message"));
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn jobs(client: &Client, status: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut path = "/api/bulk-data/jobs?limit=100".to_owned();
    if let Some(status) = status {
        path.push_str("&status=");
        path.extend(url::form_urlencoded::byte_serialize(status.as_bytes()));
    }
    let answer = client.ask(Method::GET, &path, None, None).await?;
    println!("{:<36}  {:<12}  {:<28}  {:>10}  submitted", "export", "status", "Group", "resources");
    for job in answer["jobs"].as_array().into_iter().flatten() {
        let rows = thousands(job["records_loaded"].as_u64().unwrap_or(0));
        let group = word(job, "group_id");
        println!("{:<36}  {:<12}  {group:<28}  {rows:>10}  {}", word(job, "job_id"), word(job, "status"), word(job, "created_at"));
    }
    if answer["next"].is_string() {
        println!("There are more; the HTTP API pages through them.");
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn operate(client: &Client, job: Uuid, operation: &str) -> anyhow::Result<ExitCode> {
    let answer = client.ask(Method::POST, &format!("/api/bulk-data/jobs/{job}/{operation}"), None, None).await?;
    println!("export {job}: {}", word(&answer, "status"));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (58_321, "58,321"), (1_234_567, "1,234,567")] {
            assert_eq!(super::thousands(n), text);
        }
    }
}
