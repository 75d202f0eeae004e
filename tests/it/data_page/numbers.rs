use std::{path::Path, time::Duration};

use bulkhead_tests::{App, SandboxConfig, Setup};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{data, data_of, plain, plain::Picks, rows};
use crate::setup;

fn query(picks: Picks<'_>) -> String {
    let url = reqwest::Url::parse_with_params("http://x/", picks.iter().copied()).expect("a URL");
    url.query().unwrap_or_default().to_owned()
}

/// Each chart, whatever is picked, says what SQL says.
async fn all_charts_are_right(app: &App, job: Uuid, picks: Picks<'_>) {
    let pool = &app.pool;
    let found = data_of(app, job, &format!("{}&top=all", query(picks))).await;
    let (people, chosen) = plain::totals(pool, job, picks).await;
    let resources = rows(&found, "resources");
    assert_eq!(resources, plain::resources(pool, job, picks).await, "{picks:?}");
    let totals = &rows(&found, "totals")[0];
    assert_eq!(totals[..2], [people.to_string(), chosen.to_string()], "{picks:?}");
    assert_eq!(rows(&found, "people"), plain::people(pool, job, picks).await, "{picks:?}");
    for chart in ["conditions", "observations", "medications"] {
        let found: Vec<Vec<String>> =
            rows(&found, chart).into_iter().map(|row| vec![row[0].clone(), row[2].clone(), row[3].clone()]).collect();
        assert_eq!(found, plain::coded(pool, job, picks, chart).await, "{chart} {picks:?}");
    }
    for by in ["year", "quarter", "month"] {
        let found = data_of(app, job, &format!("{}&by={by}", query(picks))).await;
        assert_eq!(rows(&found, "encounters"), plain::encounters(pool, job, picks, by).await, "{by} {picks:?}");
    }
    values_are_right(app, job, picks, &found).await;
}

async fn values_are_right(app: &App, job: Uuid, picks: Picks<'_>, found: &Value) {
    let Some(code) = found["values_of"].as_str() else { return };
    let chart = |name: &str| found["charts"].as_array().expect("charts").iter().find(|t| t["name"] == name).expect("it")["rows"].clone();
    let (bars, trend) = (chart("histogram"), chart("trend"));
    let mut in_bars = 0;
    for bar in bars.as_array().expect("rows") {
        let expected =
            plain::in_bar(&app.pool, job, picks, code, (bar[1].as_str(), bar[2].as_str(), bar[3].as_f64(), bar[4].as_f64())).await;
        assert_eq!(bar[5].as_i64(), Some(expected), "{bar} {picks:?}");
        in_bars += expected;
    }
    let expected = plain::trend(&app.pool, job, picks, code).await;
    assert_eq!(in_bars, expected.iter().map(|row| row.records).sum::<i64>(), "every value is in one bar");
    let trend = trend.as_array().expect("rows");
    assert_eq!(trend.len(), expected.len(), "{picks:?}");
    for (row, expected) in trend.iter().zip(expected) {
        let of = [&expected.part, &expected.unit, &expected.year].map(Option::as_deref);
        assert_eq!((of, Some(expected.records)), ([1, 2, 3].map(|n| row[n].as_str()), row[4].as_i64()), "{picks:?}");
        for (n, number) in expected.numbers.iter().enumerate() {
            let got = row[5 + n].as_f64().expect("a number");
            assert!((got - number).abs() <= 1e-9 * number.abs().max(1.0), "{got} is not {number}: {row}");
        }
    }
}

/// Something of everything that can be picked, and some of it together.
async fn whatever_is_picked(app: &App, job: Uuid, least: usize) {
    let all = data_of(app, job, "top=all").await;
    let top = |chart: &str| {
        let charts = all["charts"].as_array().expect("charts");
        let table = charts.iter().find(|table| table["name"] == chart).expect("a chart");
        table["rows"][0][1].as_str().unwrap_or_default().to_owned()
    };
    let (condition, observation, medication) = (top("conditions"), top("observations"), top("medications"));
    let class = rows(&all, "encounters")[0][1].clone();
    let year = rows(&all, "encounters").last().expect("encounters")[0].clone();
    let picks: &[Picks<'_>] = &[
        &[],
        &[("gender", "female")],
        &[("gender", "male"), ("gender", "")],
        &[("age", "30-39")],
        &[("age", "60-"), ("gender", "female")],
        &[("condition", &condition)],
        &[("observation", &observation)],
        &[("medication", &medication)],
        &[("class", &class)],
        &[("period", &year)],
        &[("class", &class), ("period", &year), ("gender", "female")],
        &[("resource_type", "Procedure")],
        &[("resource_type", "MedicationRequest"), ("condition", &condition)],
        &[("condition", &condition), ("observation", &observation), ("gender", "male"), ("age", "20-")],
        &[("condition", "nobody has it")],
    ];
    let mut different = std::collections::BTreeSet::new();
    for picks in picks {
        all_charts_are_right(app, job, picks).await;
        different.insert(rows(&data_of(app, job, &query(picks)).await, "totals"));
    }
    assert!(different.len() >= least, "the filters choose different people: {different:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_a_generated_export_are_those_of_plain_sql() {
    let app = App::start(Setup { sandbox: SandboxConfig { scale: 0.5, export_time: Duration::ZERO, ..setup().sandbox }, ..setup() }).await;
    let job = app.export("HealthNewEngland").await;
    app.until(job, "completed").await;
    whatever_is_picked(&app, job, 8).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_real_exports_are_those_of_plain_sql_alone_and_side_by_side() {
    let folder = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    let groups = ["synthea-10", "synthea-group"];
    if let Some(missing) = groups.iter().map(|name| folder(name)).find(|folder| !folder.is_dir()) {
        println!("SKIPPED: there is no real data at {}", missing.display());
        return;
    }
    let sandbox = SandboxConfig {
        data: groups.iter().map(|name| ((*name).to_owned(), folder(name))).collect(),
        export_time: Duration::ZERO,
        resources_per_file: 1_000,
        ..setup().sandbox
    };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let mut jobs = Vec::new();
    for group in groups {
        let job = app.export(group).await;
        app.until(job, "completed").await;
        // One of them has three people.
        whatever_is_picked(&app, job, 5).await;
        jobs.push(job);
    }

    // Side by side, in whatever words: each export's numbers are what they are alone.
    jobs.sort_unstable();
    let both = data(&app, &format!("etl_job_id={},{}&gender=female&top=all", jobs[0], jobs[1])).await;
    assert_eq!(both["jobs"].as_array().expect("jobs").len(), 2);
    let latest = data(&app, "latest=groups&gender=female&top=all").await;
    for chart in both["charts"].as_array().expect("charts") {
        let name = chart["name"].as_str().expect("a name");
        if name == "histogram" || name == "trend" {
            continue;
        }
        let of = |data: &Value, job: Uuid| -> Vec<Value> {
            let table = data["charts"].as_array().expect("charts").iter().find(|table| table["name"] == name).expect("it").clone();
            let mut rows: Vec<Value> =
                table["rows"].as_array().expect("rows").iter().filter(|row| row[0] == job.to_string()).cloned().collect();
            // The text of a code is the same for all exports.
            for row in &mut rows {
                if row.as_array().expect("a row").len() == 5 && name != "people" {
                    row[2] = Value::Null;
                }
            }
            rows.sort_by_key(Value::to_string);
            rows
        };
        for job in &jobs {
            let alone = data_of(&app, *job, "gender=female&top=all").await;
            assert_eq!(of(&both, *job), of(&alone, *job), "{name}");
            assert_eq!(of(&latest, *job), of(&alone, *job), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_given_and_whoever_is_not_known_is_counted_as_such() {
    let app = App::start(Setup { workers: 1, ..setup() }).await;
    let job = app.export_of("FallonHealth", &["Patient"]).await;
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    let before = rows(&data_of(&app, job, "").await, "totals")[0][0].parse::<i64>().expect("people");
    // As if the server had sent them: a patient of whom nothing is known, a condition of somebody who is no Patient here, and one of nobody.
    app.sql(&format!(
        "INSERT INTO patients (etl_job_id, id, part_id, patient_id, resource) VALUES ('{job}', 'bare', 0, 'bare', '{{\"resourceType\": \"Patient\"}}');
         INSERT INTO conditions (etl_job_id, id, part_id, patient_id, code, display, resource) VALUES
             ('{job}', 'a', 0, 'elsewhere', 'c1', 'One', '{{\"resourceType\": \"Condition\", \"code\": {{\"coding\": [{{\"code\": \"c1\"}}]}}}}'),
             ('{job}', 'b', 0, NULL, NULL, 'only text', '{{\"resourceType\": \"Condition\", \"code\": {{\"text\": \"only text\"}}}}'),
             ('{job}', 'c', 0, NULL, NULL, NULL, '{{\"resourceType\": \"Condition\"}}');
         INSERT INTO observations (etl_job_id, id, part_id, patient_id, code, unit, value, resource) VALUES
             ('{job}', 'a', 0, 'bare', 'o', 'kg', NULL, '{{}}'), ('{job}', 'b', 0, 'bare', 'o', 'kg', 70, '{{}}'), ('{job}', 'c', 0, 'bare', 'o', NULL, 71, '{{}}');
         DELETE FROM bulkhead.summaries"
    ))
    .await;
    let found = data_of(&app, job, "").await;
    assert_eq!(rows(&found, "conditions"), [["-", "-", "0", "1"], ["c1", "One", "1", "1"], ["only text", "only text", "0", "1"]]);
    assert_eq!(rows(&found, "totals")[0][..2], [(before + 2).to_string(), (before + 2).to_string()]);
    assert!(rows(&found, "people").contains(&["-", "-", "-", "1"].map(str::to_owned).to_vec()), "{found:#}");
    let units: Vec<_> = rows(&found, "trend").into_iter().map(|row| row[1..4].to_vec()).collect();
    assert_eq!(units, [["-", "-", "1"], ["kg", "-", "1"]], "a value without a date, a record without a value");

    let bare = data_of(&app, job, "gender=&age=").await;
    assert_eq!(rows(&bare, "totals")[0][1], "1", "only the one of whom nothing is known");
    let elsewhere = data_of(&app, job, "condition=c1").await;
    assert_eq!(rows(&elsewhere, "totals")[0][1], "1", "known by reference only");
    let nobody = data_of(&app, job, "condition=only+text").await;
    assert_eq!(rows(&nobody, "totals")[0][1], "0", "it is about nobody who is known");
    assert_eq!(rows(&nobody, "conditions").len(), 3, "its own chart shows what is beside it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_comes_as_csv_without_formulas() {
    let app = App::start(setup()).await;
    let job = app.export_of("FallonHealth", &["Patient"]).await;
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    app.sql(&format!(
        "INSERT INTO conditions (etl_job_id, id, part_id, code, display, resource) VALUES ('{job}', 'x', 0, '=cmd|calc', 'Pain, \"bad\"', '{{}}');
         DELETE FROM bulkhead.summaries"
    ))
    .await;
    data_of(&app, job, "").await;
    for (path, headers) in [
        (format!("/api/bulk-data/data/conditions?etl_job_id={job}&format=csv"), &[][..]),
        (format!("/api/bulk-data/data/conditions?etl_job_id={job}"), &[("accept", "text/csv")][..]),
    ] {
        let (status, text) = app.request(Method::GET, &path, None, headers).await;
        assert_eq!(status, 200);
        assert_eq!(text, format!("job_id,code,display,people,records\r\n{job},\"'=cmd|calc\",\"Pain, \"\"bad\"\"\",0,1\r\n"));
    }
    let (status, table) = app.request(Method::GET, &format!("/api/bulk-data/data/conditions?etl_job_id={job}"), None, &[]).await;
    assert_eq!((status, &table["rows"][0][1]), (200, &Value::from("=cmd|calc")), "as it is, for programs");
    let (status, _) = app.request(Method::GET, &format!("/api/bulk-data/data/colours?etl_job_id={job}"), None, &[]).await;
    assert_eq!(status, 404);
}
