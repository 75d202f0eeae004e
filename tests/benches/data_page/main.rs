//! The data page at five million rows, and what summing up costs beside the load: `cargo bench -p bulkhead-tests --bench data_page`.

mod fill;
mod plain;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bulkhead_api::{
    ApiState,
    access::{Access, ApiAuth},
};
use bulkhead_shared::{domain::outgoing::OutgoingRules, secrets::Cipher};
use bulkhead_tests::{
    App, Database, SandboxConfig, Setup,
    app::{client, secret_key},
    bench::{Bench, Goal, quantile},
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use fill::job;

/// One large export, and as many small ones as can be compared with it.
const SMALL: usize = 10;
/// How often each page is asked for.
const ROUNDS: usize = 20;

#[tokio::main]
async fn main() {
    let bench = Bench::start("data_page");
    if bench.wants("questions") {
        questions(&bench).await;
    }
    if bench.wants("load") {
        beside_the_load(&bench).await;
    }
}

async fn start(generated: &str) -> App {
    let generated = vec![generated.parse().expect("a file")];
    let sandbox = SandboxConfig { scale: 0.001, generated, export_time: Duration::ZERO, ..SandboxConfig::default() };
    let settings = vec![("LOG_LEVEL", "warn".to_owned())];
    let program = env!("CARGO_BIN_EXE_bulkhead-test-worker");
    App::start_on(Database::durable().await, Setup { sandbox, workers: 1, settings, own_postgres: false, program }).await
}

/// How long each page takes, from the question to the first byte and to the last.
async fn questions(bench: &Bench) {
    let app = start("big=Observation:1MB").await;
    let base = pages(&app).await;
    let rows = bench.size(5_000_000, 50_000);
    let began = Instant::now();
    let jobs: Vec<usize> = std::iter::once(rows).chain([rows / 100; SMALL]).collect();
    fill::fill(&app, &jobs).await;
    println!(
        "{rows} rows in one export, {} in each of {SMALL}; by plain SQL in {:.0} s, {}",
        rows / 100,
        began.elapsed().as_secs_f64(),
        size(&app, "fhir").await
    );
    let began = Instant::now();
    let all: Vec<String> = (0..jobs.len()).map(|n| job(n).to_string()).collect();
    for id in &all {
        summed_up(&base, id).await;
        if *id == all[0] {
            println!("  {:<64} {:>10.2} s", "the large one summed up, from the first look on", began.elapsed().as_secs_f64());
        }
    }
    println!("  {:<64} {:>10}", "size of all summaries", size(&app, "bulkhead").await);
    let one = format!("/data?etl_job_id={}", all[0]);
    let browse = format!("/data/{}/resources", all[0]);
    let person: String = sqlx::query_scalar("SELECT patient_id FROM fhir.patients WHERE etl_job_id = $1 ORDER BY id OFFSET 4711 LIMIT 1")
        .bind(job(0))
        .fetch_optional(&app.pool)
        .await
        .expect("patients")
        .unwrap_or_else(|| "nobody".to_owned());
    let asked = [
        ("which exports?", Ask::Get("/data".to_owned())),
        ("one export", Ask::Get(one.clone())),
        ("one, women", Ask::Get(format!("{one}&gender=female"))),
        ("one, with the most frequent condition", Ask::Get(format!("{one}&condition=c0"))),
        ("one, women with the most frequent condition", Ask::Get(format!("{one}&gender=female&condition=c0"))),
        ("one, ambulatory in a quarter, time by month", Ask::Get(format!("{one}&class=AMB&period=2019-Q1&by=month"))),
        ("one, with an observation, whose values are shown", Ask::Get(format!("{one}&observation=o2"))),
        (
            "one, all of it together",
            Ask::Get(format!("{one}&gender=male&age=40-&condition=c1&class=EMER&observation=o2&medication=m1&by=month")),
        ),
        ("three exports", Ask::Get(format!("/data?etl_job_id={}", all[..3.min(all.len())].join(",")))),
        ("latest of each Group", Ask::Get("/data?latest=groups".to_owned())),
        ("latest of each Group, women with the condition", Ask::Get("/data?latest=groups&gender=female&condition=c0".to_owned())),
        ("resources: a type", Ask::Get(format!("{browse}?type=Observation"))),
        ("resources: a type, a page in the middle", Ask::Post(browse.clone(), vec![("type", "Observation"), ("after", "001000000")])),
        ("resources: a patient's observations", Ask::Post(browse.clone(), vec![("type", "Observation"), ("patient", &person)])),
        ("resources: those of a patient who has none", Ask::Post(browse.clone(), vec![("type", "Observation"), ("patient", "nobody")])),
        ("resources: a text that many have", Ask::Post(browse.clone(), vec![("type", "Observation"), ("text", "final")])),
        (
            "resources: a text that nobody has, as far as it looks",
            Ask::Post(browse.clone(), vec![("type", "Observation"), ("text", "nowhere")]),
        ),
        (
            "resources: a patient's, with a text",
            Ask::Post(browse.clone(), vec![("type", "Observation"), ("patient", &person), ("text", "final")]),
        ),
        ("resources: one", Ask::Get(format!("{browse}/Observation/000000007"))),
    ];
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); asked.len()];
    let mut sizes = vec![0; asked.len()];
    for round in 0..=(if bench.quick { 1 } else { ROUNDS }) {
        for (n, (_, ask)) in asked.iter().enumerate() {
            let (millis, bytes) = ask.time(&base).await;
            // The first round warms up.
            if round > 0 {
                times[n].push(millis);
                sizes[n] = bytes;
            }
        }
    }
    println!("{:<66} {:>9} {:>9} {:>9} {:>9}", "milliseconds to the first byte", "p50", "p95", "most", "kB");
    let mut slowest: f64 = 0.0;
    for (((name, _), times), bytes) in asked.iter().zip(&times).zip(sizes) {
        let [p50, p95, most] = [0.5, 0.95, 1.0].map(|share| quantile(times, share));
        println!("  {name:<64} {p50:>9.1} {p95:>9.1} {most:>9.1} {:>9}", bytes / 1000);
        slowest = slowest.max(p95);
    }
    println!("  {:<64} {slowest:>9.1} {}", "the slowest p95", Goal::AtMost(1000.0, 500.0).verdict(slowest));
    for (name, who, at) in [("one export", None, 1), ("one, women", Some("gender = 'female'"), 2)] {
        let plain: Vec<f64> = [plain::all_charts(&app, job(0), who).await, plain::all_charts(&app, job(0), who).await].to_vec();
        let (plain, page) = (quantile(&plain, 0.0), quantile(&times[at], 0.5));
        println!("  {:<64} {plain:>9.1} {:>8.3} of it", format!("{name}: plain SQL of the same charts; the page takes"), page / plain);
    }
}

/// The pages over the app's database, in an open house.
async fn pages(app: &App) -> String {
    let cipher = Cipher::from_base64(&secret_key()).expect("a key");
    let access = Access { pages: ApiAuth::Open, ..Access::default() };
    let state = ApiState { access, ..ApiState::new(app.pool.clone(), cipher, OutgoingRules::default(), 20) };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = bulkhead_api::pages_router(state).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn summed_up(base: &str, id: &str) {
    let began = Instant::now();
    loop {
        let answer = client().get(format!("{base}/api/bulk-data/data?etl_job_id={id}")).send().await.expect("an answer");
        let answer: serde_json::Value = answer.json().await.expect("JSON");
        if answer["jobs"][0]["standing"] == "ready" {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "it is not summed up: {answer:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

enum Ask<'a> {
    Get(String),
    Post(String, Vec<(&'a str, &'a str)>),
}

impl Ask<'_> {
    /// Milliseconds to the first byte, and the size of the page as it is without compression.
    async fn time(&self, base: &str) -> (f64, usize) {
        let began = Instant::now();
        let request = match self {
            Self::Get(path) => client().get(format!("{base}{path}")),
            Self::Post(path, form) => client().post(format!("{base}{path}")).form(form),
        };
        let mut answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let first = answer.chunk().await.expect("a page").expect("a first byte");
        let millis = began.elapsed().as_secs_f64() * 1000.0;
        let rest = answer.bytes().await.expect("a page");
        (millis, first.len() + rest.len())
    }
}

/// What the stage costs beside the loads of the same export.
async fn beside_the_load(bench: &Bench) {
    let app = start(if bench.quick { "big=Observation:1MB" } else { "big=Observation:800MB" }).await;
    let (mut loads, mut sums) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs.min(3) {
        app.database.checkpoint().await;
        let job = app.export("big").await;
        app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.summaries WHERE export_id = $1)", job).await;
        app.until_sql("SELECT bool_and(state = 'done') FROM bulkhead.stages WHERE export_id = $1 AND kind = 'summarise'", job).await;
        loads.push(seconds(&app, job, "load").await);
        sums.push(seconds(&app, job, "summarise").await);
    }
    let (load, sum) = (quantile(&loads, 0.5), quantile(&sums, 0.5));
    println!("  {:<64} {load:>10.2}", "seconds in load stages, of one export");
    println!("  {:<64} {sum:>10.2}", "seconds in its summarise stage, after it is completed");
    println!("  {:<64} {:>10.3} {}", "summarise / load", sum / load, Goal::AtMost(0.1, 0.05).verdict(sum / load));
}

async fn seconds(app: &App, job: Uuid, kind: &str) -> f64 {
    sqlx::query_scalar(
        "SELECT sum(extract(epoch FROM finished_at - started_at))::float8 FROM bulkhead.stages WHERE export_id = $1 AND kind = $2",
    )
    .bind(job)
    .bind(kind)
    .fetch_one(&app.pool)
    .await
    .expect("stages")
}

async fn size(app: &App, schema: &str) -> String {
    let which = if schema == "fhir" { "relnamespace = 'fhir'::regnamespace" } else { "relname IN ('summaries', 'summary_columns')" };
    let sql = format!("SELECT pg_size_pretty(sum(pg_total_relation_size(oid))) FROM pg_class WHERE relkind = 'r' AND {which}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&app.pool).await.expect("a size")
}
