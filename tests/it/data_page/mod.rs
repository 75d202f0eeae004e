//! The data page's numbers: the same as plain SQL over the resources gives, whatever was picked and whatever happened to the export.

mod browser;
mod changes;
mod numbers;
pub mod page;
mod plain;
mod shapes;

use std::time::Duration;

use bulkhead_tests::App;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

/// What the API says about an export, when it is summed up.
async fn data(app: &App, query: &str) -> Value {
    let began = std::time::Instant::now();
    loop {
        let (status, answer) = app.request(Method::GET, &format!("/api/bulk-data/data?{query}"), None, &[]).await;
        assert_eq!(status, 200, "{query}: {answer:#}");
        let jobs = answer["jobs"].as_array().expect("jobs");
        if jobs.iter().all(|job| job["standing"] == "ready") {
            return answer;
        }
        assert!(began.elapsed() < bulkhead_tests::app::PATIENCE, "{jobs:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn data_of(app: &App, job: Uuid, query: &str) -> Value {
    data(app, &format!("etl_job_id={job}&{query}")).await
}

/// A chart's rows without their job, as text, sorted.
fn rows(data: &Value, chart: &str) -> Vec<Vec<String>> {
    let charts = data["charts"].as_array().expect("charts");
    let table = charts.iter().find(|table| table["name"] == chart).unwrap_or_else(|| panic!("no {chart}"));
    let mut rows: Vec<Vec<String>> = table["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row.as_array().expect("a row").iter().skip(1).map(text).collect())
        .collect();
    rows.sort();
    rows
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
