//! `demo`: the guide's eight Groups from a made-up FHIR server, with authentication, into Postgres.

use std::{collections::HashMap, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bulkhead_sandbox::GROUPS;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    cli::Machine,
    export,
    show::thousands,
    stack::{self, Stack},
};

/// The resource types of the guide's script.
const TYPES: [&str; 5] = ["Patient", "Condition", "Observation", "MedicationRequest", "Encounter"];
const SANDBOX_LIMIT: Duration = Duration::from_secs(20);

pub async fn run(machine: &Machine, exit: bool, sandbox_port: u16) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let mut stack = Stack::start(machine).await?;
    let address = stack.add_sandbox(sandbox_port).await?;
    stack.let_itself_in().await?;
    let shown = tokio::select! {
        shown = show(&stack, address, began) => Some(shown),
        interrupted = stack::until_interrupted() => {
            interrupted?;
            None
        }
    };
    let code = match shown {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            stack.stop().await?;
            return Err(error);
        }
        None => {
            println!("{}", stack.login(machine));
            println!("stopping; `bulkhead up` goes on with what is under way");
            stack.stop().await?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if exit {
        println!("{}", stack.login(machine));
    } else {
        println!();
        stack::print_addresses(machine, &stack);
        stack::until_interrupted().await?;
        println!("stopping");
    }
    stack.stop().await?;
    Ok(if exit { code } else { ExitCode::SUCCESS })
}

/// Submits, watches, and prints the summary. `true`: everything the server has is in Postgres.
async fn show(stack: &Stack, sandbox: SocketAddr, began: Instant) -> anyhow::Result<bool> {
    let origin = format!("http://{sandbox}");
    let config = config(&origin).await?;
    println!("Exporting {} Groups from {origin}/fhir (made-up patients) into Postgres", GROUPS.len());
    let mut exports = Vec::new();
    for (id, name, _) in GROUPS {
        let body = json!({ "fhir_server_url": format!("{origin}/fhir/Group/{id}"), "resource_types": TYPES, "config": config });
        exports.push((stack.client.kick_off(&body).await?, name.to_owned()));
    }
    let ended = export::watch(&stack.client, &exports).await?;
    let seconds = began.elapsed().as_secs_f64();
    let all = summary(stack, &origin, &exports, &ended).await?;
    println!("{seconds:.1} s from start to the last row.");
    sql_to_try(stack, &exports);
    Ok(all)
}

/// A client of its own at the made-up server: what the guide downloads as JSON.
async fn config(origin: &str) -> anyhow::Result<Value> {
    let began = Instant::now();
    loop {
        match get(&format!("{origin}/sandbox/config")).await {
            Ok(config) => return Ok(config),
            Err(error) if began.elapsed() > SANDBOX_LIMIT => return Err(error.context("the demo's FHIR server does not start")),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "asks the demo's own FHIR server on this machine")]
async fn get(url: &str) -> anyhow::Result<Value> {
    let answer = reqwest::get(url).await?;
    if !answer.status().is_success() {
        bail!("{url} answers {}", answer.status());
    }
    Ok(answer.json().await?)
}

/// The guide's summary, with the server's own counts beside ours.
async fn summary(stack: &Stack, origin: &str, exports: &[(Uuid, String)], ended: &HashMap<Uuid, Value>) -> anyhow::Result<bool> {
    let pool = bulkhead_shared::db::pool(&stack.database_url, "bulkhead-demo", 1)?;
    println!("\n{:<32} {:>9} {:>10} {:>14}", "Group", "patients", "resources", "at the server");
    let mut totals = (0, 0, 0);
    let mut good_ones = 0;
    for ((job, name), (id, _, expected)) in exports.iter().zip(GROUPS) {
        let status = &ended[job];
        let loaded = status["records_loaded"].as_u64().unwrap_or(0);
        let patients = patients(&pool, *job).await?;
        let counts = get(&format!("{origin}/sandbox/expected/{id}")).await?;
        let served: u64 = TYPES.iter().filter_map(|kind| counts[*kind].as_u64()).sum();
        let good = status["status"] == "completed" && loaded == served && patients == u64::from(expected);
        good_ones += usize::from(good);
        totals = (totals.0 + patients, totals.1 + loaded, totals.2 + served);
        let mark = if good { "✅" } else { "❌" };
        println!("{mark} {name:<29} {:>9} {:>10} {:>14}", thousands(patients), thousands(loaded), thousands(served));
        if let Some(error) = status["error"].as_str() {
            println!("   {error}");
        }
    }
    println!("{:<32} {:>9} {:>10} {:>14}", "total", thousands(totals.0), thousands(totals.1), thousands(totals.2));
    println!("\nSuccessful: {good_ones}/{}", exports.len());
    pool.close().await;
    Ok(good_ones == exports.len())
}

async fn patients(pool: &PgPool, job: Uuid) -> anyhow::Result<u64> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM fhir.patients WHERE etl_job_id = $1")
        .bind(job)
        .fetch_one(pool)
        .await
        .context("cannot count the patients")?;
    Ok(n.unsigned_abs())
}

fn sql_to_try(stack: &Stack, exports: &[(Uuid, String)]) {
    println!("\nTry in psql:  {}", stack.psql());
    println!("  SELECT etl_job_id, count(*) AS patient_count FROM patients GROUP BY etl_job_id;");
    println!("  SELECT \"group_id\", rows, files FROM completed_exports;");
    if let Some((job, _)) = exports.first() {
        println!("  SELECT display, count(*) FROM conditions WHERE etl_job_id = '{job}' GROUP BY 1 ORDER BY 2 DESC LIMIT 5;");
    }
}
