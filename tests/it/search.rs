//! Servers without $export: the same rows by FHIR search, whatever the Group looks like, wherever a worker is killed.

use std::time::{Duration, Instant};

use bulkhead_shared::clock;
use bulkhead_tests::{App, Sandbox, SandboxConfig, Setup, rows};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::setup;

pub const GROUP: &str = "FallonHealth";

/// Without $export, and with these switches beside.
pub async fn start(switches: &str, settings: &[(&'static str, &str)]) -> App {
    start_with(SandboxConfig { switches: format!("no-export {switches}"), ..setup().sandbox }, settings).await
}

pub async fn start_with(sandbox: SandboxConfig, settings: &[(&'static str, &str)]) -> App {
    let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    App::start(Setup { sandbox, settings, ..setup() }).await
}

/// The findings beside the one that says that search took the place of the export: kind and severity.
pub fn findings(status: &Value) -> Vec<(String, String)> {
    let mut findings = crate::loading::findings(status);
    assert_eq!(findings.remove(0), ("searched_instead".to_owned(), "warning".to_owned()), "{status:#}");
    findings
}

pub fn told(status: &Value, words: &str) -> bool {
    status["events"].as_array().expect("a story").iter().any(|event| event["message"].as_str().is_some_and(|told| told.contains(words)))
}

async fn route(app: &App, job: Uuid) -> String {
    sqlx::query_scalar("SELECT route FROM bulkhead.exports WHERE id = $1").bind(job).fetch_one(&app.pool).await.expect("the export")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_group_by_bulk_and_by_search_gives_the_same_rows() {
    let config = SandboxConfig { auth: true, switches: "no-export".to_owned(), ..setup().sandbox };
    let app = start_with(config.clone(), &[("SEARCH_PATIENTS", "5"), ("SEARCH_PAGE", "7")]).await;
    let began = clock::now() - chrono::Duration::seconds(2);
    let searched = app.export("HealthNewEngland").await;
    let status = app.until(searched, "completed").await;
    app.assert_rows_right(searched, "HealthNewEngland").await;
    assert_eq!(findings(&status), [], "{status:#}");
    assert!(told(&status, "no $export") && told(&status, "Patients in the Group: 13."), "{status:#}");
    assert_eq!((route(&app, searched).await.as_str(), &status["route"]), ("search", &json!("search")));
    let time: chrono::DateTime<chrono::Utc> = status["transaction_time"].as_str().expect("a time").parse().expect("an instant");
    assert!(time >= began && time <= clock::now(), "{time}");
    let stats = app.sandbox.stats();
    assert_eq!((stats.kick_offs, stats.kick_off_requests, stats.files_started), (0, 1, 0));

    let other = Sandbox::start(SandboxConfig { auth: false, switches: String::new(), ..config }).expect("a sandbox");
    let exported = app.submit(&json!({ "fhir_server_url": format!("{}/Group/HealthNewEngland", other.base_url()) })).await;
    let status = app.until(exported, "completed").await;
    assert_eq!((route(&app, exported).await.as_str(), &status["findings"]), ("bulk", &json!([])));
    let counts = rows::counts(&app.pool, searched).await;
    assert_eq!(counts, rows::counts(&app.pool, exported).await);
    assert_eq!(counts.len(), 9, "all types: {counts:?}");
    for kind in app.sandbox.expected(Some("HealthNewEngland")).keys() {
        let of = async |job| rows::md5_of_rows(&app.pool, job, kind).await.expect("rows");
        assert_eq!(of(searched).await, of(exported).await, "{kind}");
    }
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_in_groups_in_circles_and_by_references_of_every_form_are_read_once() {
    let app = start("odd-groups", &[("SEARCH_PATIENTS", "2")]).await;
    for (group, story) in [
        ("nested", "Groups in it: 3."),
        ("cyclic", "Groups in it: 1. Groups met again and counted once: 2."),
        ("absolute", "Patients in the Group: 2."),
        ("urn", "Patients in the Group: 2."),
    ] {
        let job = app.export(group).await;
        let status = app.until(job, "completed").await;
        app.assert_rows_right(job, group).await;
        assert_eq!(findings(&status), [], "{group}: {status:#}");
        assert!(told(&status, story), "{group}: {status:#}");
    }
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_the_group_that_cannot_be_read_is_a_gap() {
    let app = start("odd-groups", &[]).await;
    let job = app.export("broken").await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete", "{status:#}");
    assert_eq!(findings(&status), crate::loading::found("members_left_out", "error"));
    app.assert_rows_right(job, GROUP).await;
    let (code, answer) = app.operate(job, "accept").await;
    assert_eq!(code, 200, "{answer}");
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status).len(), 1, "the finding stays: {status:#}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_300_pages_that_is_killed_in_the_middle_goes_on_after_its_last_part() {
    let config = SandboxConfig { switches: "no-export".to_owned(), scale: 0.45, ..setup().sandbox };
    let mut app = start_with(config, &[("SEARCH_PATIENTS", "1000"), ("SEARCH_PAGE", "2"), ("SEARCH_URL_LENGTH", "100000")]).await;
    let resources = app.sandbox.expected(Some("HealthNewEngland"))["Encounter"];
    let pages = resources.div_ceil(2);
    assert!(pages >= 300, "{pages}");
    app.sandbox.fault("search:delay=5ms*always");
    let job = app.export_of("HealthNewEngland", &["Encounter"]).await;
    let mut kills = 0;
    // In the middle of a part of 50 pages.
    for asked in [130, 230] {
        let began = Instant::now();
        while app.sandbox.stats().searches < asked {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", app.logs());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        app.workers.last_mut().expect("a worker").kill();
        assert!(app.sandbox.stats().searches < pages, "it is not over yet");
        kills += 1;
        app.add_worker();
    }
    let status = app.until(job, "completed").await;
    app.assert_rows_of(job, "HealthNewEngland", &["Encounter"]).await;
    assert_eq!(findings(&status), [], "{status:#}");
    let asked = app.sandbox.stats().searches;
    assert!(asked >= pages && asked <= pages + kills * 51, "{asked} pages were asked for, {pages} are there: a kill costs a part, no more");
    let runs: i32 = sqlx::query_scalar("SELECT max(runs) FROM bulkhead.stages WHERE export_id = $1 AND kind = 'search'")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("the stage");
    assert_eq!(runs, 3, "it was killed twice");
    println!("{pages} pages, {kills} kills, {asked} page requests");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_type_that_cannot_be_searched_is_never_left_out_silently() {
    let app = start("", &[]).await;
    let job = app.export_of(GROUP, &["Observation", "Practitioner"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete", "{status:#}");
    assert!(status["error"].as_str().is_some_and(|error| error.contains("Practitioner was asked for by name")), "{status:#}");
    assert_eq!(findings(&status), crate::loading::found("type_not_searched", "error"));
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), crate::loading::found("type_not_searched", "error"), "a retry forgets no finding");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_searches_are_posted_and_halved_where_that_is_refused() {
    let group = "TuftsHealthPlan";
    for (switches, settings, searches) in [
        // Ours is too long to be a URL.
        ("", vec![("SEARCH_URL_LENGTH", "200")], 1),
        // The server finds it too long.
        ("longest-url=200", vec![], 1),
        // And takes no other: eleven patients become six and five, three and three, three and two.
        ("longest-url=200 no-post-search", vec![], 4),
        ("no-post-search", vec![("SEARCH_URL_LENGTH", "200")], 4),
    ] {
        let app = start(switches, &settings).await;
        let job = app.export_of(group, &["Observation"]).await;
        let status = app.until(job, "completed").await;
        app.assert_rows_of(job, group, &["Observation"]).await;
        assert_eq!(findings(&status), [], "{switches}: {status:#}");
        assert_eq!(status["files"].as_array().map(Vec::len), Some(searches), "{switches}: {:#}", status["files"]);
        app.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn since_becomes_last_updated() {
    let app = start("", &[]).await;
    let mut body = app.body_of(GROUP, &["Observation"]);
    body["since"] = json!("2024-06-01T00:00:00Z");
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    let ndjson = app.sandbox.ndjson(GROUP, "Observation");
    let newer: Vec<&[u8]> = ndjson
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .filter(|line| {
            let resource: Value = serde_json::from_slice(line).expect("a resource");
            resource["meta"]["lastUpdated"].as_str().expect("a time") > "2024-06-01T00:00:00"
        })
        .collect();
    let all = app.sandbox.expected(Some(GROUP))["Observation"];
    assert!(!newer.is_empty() && (newer.len() as u64) < all, "{} of {all}", newer.len());
    app.assert_rows_are(job, "Observation", &newer.join(&b'\n')).await;
    assert_eq!(status["records_loaded"], newer.len(), "{status:#}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_and_patient_level_search_whole_types() {
    let app = start("", &[("SEARCH_PAGE", "50")]).await;
    for place in ["", "/Patient"] {
        let body =
            json!({ "fhir_server_url": format!("{}{place}", app.sandbox.base_url()), "resource_types": ["Immunization", "Patient"] });
        let job = app.submit(&body).await;
        let status = app.until(job, "completed").await;
        let expected = app.sandbox.expected(None);
        assert_eq!(status["records_loaded"], expected["Immunization"] + expected["Patient"], "{place}: {status:#}");
        assert_eq!(status["files"].as_array().map(Vec::len), Some(2), "{place}");
        assert_eq!(findings(&status), [], "{place}: {status:#}");
    }
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_by_search_is_cancelled_and_deleted_like_any_other() {
    let app = start("", &[("SEARCH_PAGE", "5")]).await;
    app.sandbox.fault("search:hold@Encounter");
    let job = app.export(GROUP).await;
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'search' AND state = 'running')", job).await;
    let (code, answer) = app.operate(job, "cancel").await;
    assert_eq!(code, 200, "{answer}");
    app.until(job, "cancelled").await;
    app.sandbox.release();
    app.assert_nothing_left().await;
    let (code, answer) = app.request(reqwest::Method::DELETE, &format!("/api/bulk-data/jobs/{job}"), None, &[]).await;
    assert!(code < 300, "{code}: {answer}");
    app.until_sql("SELECT NOT EXISTS (SELECT FROM bulkhead.exports WHERE id = $1)", job).await;
    assert_eq!(rows::counts(&app.pool, job).await, []);
    assert_eq!(app.sandbox.stats().deletes, 0, "there is nothing to delete at the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_search_for_is_no_failure_and_is_said() {
    let app = start("", &[]).await;
    let mut body = app.body_of(GROUP, &["Observation"]);
    body["patient"] = json!("Patient/stranger");
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), crate::loading::found("members_left_out", "warning"), "{status:#}");
    assert_eq!(status["records_loaded"], 0);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_files_even_for_one_type_lead_to_a_search_of_what_is_left() {
    for at in ["kick-off", "status"] {
        let switches = format!("most-files=1 too-many-at={at}");
        // Patients and immunizations are a file each, the others more.
        let sandbox = SandboxConfig { switches, resources_per_file: 20, export_time: Duration::ZERO, ..setup().sandbox };
        let app = start_with(sandbox, &[]).await;
        let job = app.export_of(GROUP, &["Patient", "Observation", "Condition"]).await;
        let status = app.until(job, "completed").await;
        app.assert_rows_of(job, GROUP, &["Patient", "Observation", "Condition"]).await;
        let expected = [("split_by_type".to_owned(), "warning".to_owned()), ("searched_instead".to_owned(), "warning".to_owned())];
        assert_eq!(crate::loading::findings(&status), expected, "{at}: {status:#}");
        assert!(words(&status, "Too many files"), "{status:#}");
        let searched: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT resource_type FROM bulkhead.export_files WHERE export_id = $1 AND search IS NOT NULL ORDER BY 1",
        )
        .bind(job)
        .fetch_all(&app.pool)
        .await
        .expect("the files");
        assert_eq!(searched, ["Condition", "Observation"], "{at}: the patients were here already");
        app.assert_nothing_left().await;
    }
}

fn words(status: &Value, words: &str) -> bool {
    status["findings"].as_array().expect("findings").iter().any(|f| f["message"].as_str().is_some_and(|message| message.contains(words)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_say_that_there_is_no_export_leads_to_a_search() {
    for fault in ["status=404", "status=405", "status=501", "status=400;issue=not-supported;text=No such operation"] {
        let app = start_with(setup().sandbox, &[]).await;
        app.sandbox.fault(&*format!("kick-off:{fault}*always"));
        let job = app.export_of(GROUP, &["Patient"]).await;
        let status = app.until(job, "completed").await;
        assert_eq!(findings(&status), [], "{fault}: {status:#}");
        app.assert_rows_of(job, GROUP, &["Patient"]).await;
        app.assert_nothing_left().await;
    }
}
