//! The data page at five million rows, and what summing up costs beside the load: `cargo bench -p bulkhead-tests --bench data_page`.

use std::time::{Duration, Instant};

use bulkhead_tests::{
    App, Database, SandboxConfig, Setup,
    bench::{Bench, Goal, Samples, quantile},
};
use reqwest::Method;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

const JOB: &str = "00000000-0000-7000-8000-000000000001";

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

/// How long each question takes over one export of five million rows.
async fn questions(bench: &Bench) {
    let app = start("big=Observation:1MB").await;
    let rows = bench.size(5_000_000, 50_000);
    let began = Instant::now();
    fill(&app, rows).await;
    println!("{rows} rows by plain SQL in {:.0} s, {}", began.elapsed().as_secs_f64(), size(&app, "fhir").await);
    let began = Instant::now();
    while ask(&app, "").await.1 {
        assert!(began.elapsed() < Duration::from_secs(300), "it is not summed up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("  {:<64} {:>10.2} s, {}", "summed up, from the first look on", began.elapsed().as_secs_f64(), size(&app, "bulkhead").await);
    let mut samples = Samples::of("milliseconds, all charts of the page together");
    let questions = [
        ("everybody", ""),
        ("women", "gender=female"),
        ("women in their thirties", "gender=female&age=30-39"),
        ("with the most frequent condition", "condition=c0"),
        ("with any of three conditions", "condition=c0&condition=c1&condition=c2"),
        ("ambulatory in a quarter, time by month", "class=AMB&period=2019-Q1&by=month"),
        ("with an observation, whose values are shown", "observation=o0"),
        ("all of it together", "gender=male&age=40-&condition=c1&class=EMER&observation=o2&medication=m1&by=month"),
    ];
    let mut slowest: f64 = 0.0;
    for _ in 0..bench.runs {
        for (name, query) in questions {
            let (millis, _) = ask(&app, query).await;
            samples.add(name, millis);
            slowest = slowest.max(millis);
        }
    }
    samples.print();
    println!("  {:<64} {slowest:>10.2} {}", "the slowest of all", Goal::AtMost(1000.0, 300.0).verdict(slowest));
    plain_sql(bench, &app).await;
}

/// Milliseconds, and whether it is not summed up yet.
async fn ask(app: &App, query: &str) -> (f64, bool) {
    let began = Instant::now();
    let (status, answer) = app.request(Method::GET, &format!("/api/bulk-data/data?etl_job_id={JOB}&{query}"), None, &[]).await;
    let millis = began.elapsed().as_secs_f64() * 1000.0;
    assert_eq!(status, 200, "{answer:#}");
    (millis, answer["jobs"][0]["standing"] != "ready")
}

/// The same without summaries: three of the nine charts.
async fn plain_sql(bench: &Bench, app: &App) {
    app.sql("ANALYZE fhir.patients, fhir.conditions, fhir.observations, fhir.encounters").await;
    let mut samples = Samples::of("milliseconds, plain SQL over the resources, a chart each");
    let women = format!("SELECT patient_id FROM fhir.patients WHERE etl_job_id = '{JOB}' AND gender = 'female'");
    for _ in 0..bench.runs.min(3) {
        for (name, sql) in [
            (
                "conditions of women",
                format!(
                    "SELECT code, count(DISTINCT patient_id), count(*) FROM fhir.conditions WHERE etl_job_id = '{JOB}' AND patient_id IN ({women}) GROUP BY code"
                ),
            ),
            (
                "observations of women",
                format!(
                    "SELECT code, count(DISTINCT patient_id), count(*) FROM fhir.observations WHERE etl_job_id = '{JOB}' AND patient_id IN ({women}) GROUP BY code"
                ),
            ),
            (
                "encounters of women by month",
                format!(
                    "SELECT date_trunc('month', period_start), class, count(*) FROM fhir.encounters WHERE etl_job_id = '{JOB}' AND patient_id IN ({women}) GROUP BY 1, 2"
                ),
            ),
        ] {
            let began = Instant::now();
            sqlx::query(AssertSqlSafe(sql)).fetch_all(&app.pool).await.expect("rows");
            samples.add(name, began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    samples.print();
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

/// One export that ended before anybody summed up: of each 500 rows one person, 60 encounters, 40 conditions, 60 prescriptions, the
/// rest observations.
async fn fill(app: &App, rows: usize) {
    let people = rows / 500;
    let person = "md5((n % {people})::text)";
    let resource =
        "jsonb_build_object('resourceType', '{type}', 'id', n::text, 'status', 'final', 'text', repeat(md5(n::text), 12), 'subject',
                    jsonb_build_object('reference', 'Patient/' || md5((n % {people})::text)))";
    let table = |table: &str, kind: &str, rows: usize, columns: &str, values: &str| {
        format!(
            "INSERT INTO fhir.{table} (etl_job_id, id, part_id, patient_id, {columns}, resource)
             SELECT '{JOB}', lpad(n::text, 9, '0'), n / 80000, {person}, {values}, {resource} FROM generate_series(0, {rows} - 1) n;"
        )
        .replace("{person}", person)
        .replace("{type}", kind)
        .replace("{people}", &people.to_string())
    };
    // Few codes are frequent and many are rare. A person's number and what they have do not depend on each other.
    let code = |prefix: &str, codes: usize| format!("'{prefix}' || (power((n::bigint * 7919 % 100003) / 100003.0, 3) * {codes})::int");
    let time = "timestamptz '1990-01-01' + (n::bigint * 104729 % 12000) * interval '1 day'";
    app.sql(&format!(
        "INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES ('{JOB}', 'bench', 'http://127.0.0.1:9/fhir', 'open');
         INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as, state, manifest_pages, manifest_complete, finished_at)
         VALUES ('{JOB}', '{JOB}', 'group', 'bench', '', 'completed', 1, true, clock_timestamp());"
    ))
    .await;
    let patients = "(ARRAY['male', 'female'])[1 + n % 2], date '1930-01-01' + (n::bigint * 7919 % 33000)::int";
    for sql in [
        table("patients", "Patient", people, "gender, birth_date", patients),
        table(
            "encounters",
            "Encounter",
            people * 60,
            "class, period_start",
            &format!("(ARRAY['AMB', 'WELLNESS', 'EMER', 'IMP'])[1 + (n::bigint * 31 % 97 % 4)::int], {time}"),
        ),
        table("conditions", "Condition", people * 40, "code, display, onset", &format!("{}, 'A condition', {time}", code("c", 250))),
        table(
            "medication_requests",
            "MedicationRequest",
            people * 60,
            "code, display, authored_on",
            &format!("{}, 'A medication', {time}", code("m", 180)),
        ),
        table(
            "observations",
            "Observation",
            rows - people * 161,
            "code, display, value, unit, effective",
            &format!("{}, 'An observation', 20 + (n::bigint * 15485863 % 10007) / 100.0, 'mm[Hg]', {time}", code("o", 160)),
        ),
    ] {
        app.sql(&sql).await;
    }
}
