//! Files with faults: whatever a server sends, the right rows are there, nothing is dropped without a trace, and the verdict is strict.

use bulkhead_tests::{
    App, SandboxConfig, Setup,
    rows::{self, Rejected},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::setup;

pub const GROUP: &str = "BMCHealthNet";

/// An open server whose exports are done at once.
fn at_once() -> SandboxConfig {
    SandboxConfig { export_time: std::time::Duration::ZERO, ..setup().sandbox }
}

pub async fn start() -> App {
    start_with(Vec::new()).await
}

pub async fn start_with(settings: Vec<(&'static str, String)>) -> App {
    App::start(Setup { sandbox: at_once(), settings, ..setup() }).await
}

/// A server that serves these lines as the patients of the Group `mine`.
pub async fn serving(lines: &[String], per_file: usize) -> (App, tempfile::TempDir) {
    serving_as("Patient", lines, per_file).await
}

async fn serving_as(kind: &str, lines: &[String], per_file: usize) -> (App, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(format!("{kind}.ndjson")), lines.join("\n")).expect("a file");
    let data = vec![("mine".to_owned(), folder.path().to_owned())];
    let sandbox = SandboxConfig { data, resources_per_file: per_file, ..at_once() };
    (App::start(Setup { sandbox, ..setup() }).await, folder)
}

fn lines(ndjson: &[u8]) -> Vec<&[u8]> {
    ndjson.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

/// The findings' kinds and severities.
pub fn findings(status: &Value) -> Vec<(String, String)> {
    let word = |finding: &Value, name: &str| finding[name].as_str().expect("a word").to_owned();
    status["findings"].as_array().expect("an array").iter().map(|f| (word(f, "kind"), word(f, "severity"))).collect()
}

pub fn found(kind: &str, severity: &str) -> Vec<(String, String)> {
    vec![(kind.to_owned(), severity.to_owned())]
}

/// An export of patients and conditions, the condition in the middle spoilt: failed as incomplete.
struct Spoilt {
    app: App,
    job: Uuid,
    rejected: Rejected,
}

async fn spoilt(fault: &str, spoil: impl Fn(&[u8]) -> Vec<u8>) -> Spoilt {
    let app = start().await;
    app.sandbox.fault(&*format!("file:{fault}@Condition"));
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete", "{status:#}");
    assert!(status["remedy"].as_str().is_some_and(|remedy| remedy.contains("accept")), "{status:#}");
    assert_eq!(findings(&status), found("rejected_lines", "error"));
    let ndjson = app.sandbox.ndjson(GROUP, "Condition");
    let all = lines(&ndjson);
    let middle = all.len() / 2;
    let rest: Vec<&[u8]> = all.iter().enumerate().filter(|(n, _)| *n != middle).map(|(_, line)| *line).collect();
    app.assert_rows_are(job, "Condition", &rest.join(&b'\n')).await;
    app.assert_rows_are(job, "Patient", &app.sandbox.ndjson(GROUP, "Patient")).await;
    let mut rejected = rows::rejected(&app.pool, job).await;
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    let rejected = rejected.remove(0);
    assert_eq!(rejected.resource_type, "Condition");
    assert_eq!(rejected.line, i64::try_from(middle + 1).expect("a line number"));
    let before: usize = all[..middle].iter().map(|line| line.len() + 1).sum();
    assert_eq!(rejected.byte_start, i64::try_from(before).expect("an offset"));
    assert_eq!(rejected.bytes, spoil(all[middle]), "its exact bytes are kept");
    let resource: Value = serde_json::from_slice(all[middle]).expect("a resource");
    for content in [&resource["id"], &resource["subject"]["reference"], &resource["code"]["text"]] {
        assert!(content.as_str().is_none_or(|content| !rejected.reason.contains(content)), "{} shows content", rejected.reason);
    }
    app.assert_nothing_left().await;
    Spoilt { app, job, rejected }
}

/// As the sandbox adds an element to a line.
fn with_element(value: &'static [u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    move |line| [line.strip_suffix(b"}").expect("an object"), br#","implicitRules":""#, value, br#""}"#].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_line_is_kept_and_its_gap_can_be_accepted() {
    let Spoilt { app, job, rejected } = spoilt("malformed-line", |line| line[..line.len() / 2].to_vec()).await;
    assert!(rejected.reason.starts_with("not JSON"), "{}", rejected.reason);
    assert_eq!(app.sandbox.stats().deletes, 0, "an incomplete export is not released");
    let (code, answer) = app.operate(job, "accept").await;
    assert_eq!(code, 200, "{answer}");
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), found("rejected_lines", "error"), "the findings stay");
    assert!(status["accepted_at"].is_string() && status["error"].is_null(), "{status:#}");
    assert_eq!(rows::rejected(&app.pool, job).await.len(), 1, "and so does the line");
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().deletes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_character_is_kept_as_a_rejected_line_and_a_retry_reads_only_its_file_again() {
    let Spoilt { app, job, rejected } = spoilt("nul-escape", with_element(br"urn:sandbox:nul:\u0000")).await;
    assert!(rejected.reason.contains("NUL"), "{}", rejected.reason);
    assert_eq!(app.sandbox.stats().files_started, 2);
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]));
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    assert!(rows::rejected(&app.pool, job).await.is_empty());
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!((stats.files_started, stats.kick_offs), (3, 1), "only the broken file was read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_is_kept_as_a_rejected_line() {
    let Spoilt { rejected, .. } = spoilt("invalid-utf8", with_element(b"urn:sandbox:\xff\xfe")).await;
    assert!(rejected.reason.contains("UTF-8"), "{}", rejected.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_of_another_type_is_kept_as_a_rejected_line() {
    let as_basic = |line: &[u8]| {
        let mut resource: Value = serde_json::from_slice(line).expect("a resource");
        resource["resourceType"] = json!("Basic");
        resource.to_string().into_bytes()
    };
    let Spoilt { rejected, .. } = spoilt("wrong-type", as_basic).await;
    assert!(rejected.reason.contains("another resource type"), "{}", rejected.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_accepts_gaps_completes_with_findings_at_once() {
    let app = start().await;
    app.sandbox.fault("file:malformed-line@Condition");
    let mut body = app.body_of(GROUP, &["Condition"]);
    body["accept_partial"] = json!(true);
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), found("rejected_lines", "error"));
    assert_eq!(rows::rejected(&app.pool, job).await.len(), 1);
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().deletes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_postgres_refuses_is_found_line_by_line() {
    let patient = |id: &str, more: &str| format!(r#"{{"resourceType":"Patient","id":"{id}","gender":"female"{more}}}"#);
    let mut lines: Vec<String> = (0..20).map(|n| patient(&format!("p{n}"), "")).collect();
    lines[3] = patient("p3", r#","extension":[{"valueDecimal":1e200000}]"#);
    lines[17] = patient("p17", &format!(r#","extension":{}{}"#, "[".repeat(20_000), "]".repeat(20_000)));
    let (app, _folder) = serving(&lines, 1000).await;
    let job = app.export("mine").await;
    let status = app.until(job, "failed").await;
    assert_eq!(findings(&status), found("rejected_lines", "error"));
    let rejected = rows::rejected(&app.pool, job).await;
    let told: Vec<(i64, bool)> =
        rejected.iter().map(|r| (r.line, r.bytes == lines[usize::try_from(r.line - 1).expect("a line")].as_bytes())).collect();
    assert_eq!(told, [(4, true), (18, true)], "exactly these lines, byte for byte");
    assert!(rejected[0].reason.contains("22003") && rejected[1].reason.contains("54001"), "{rejected:?}");
    let good: Vec<&[u8]> = (0..20).filter(|n| ![3, 17].contains(n)).map(|n: usize| lines[n].as_bytes()).collect();
    app.assert_rows_are(job, "Patient", &good.join(&b'\n')).await;
    assert_eq!(status["records_loaded"], 18);
    app.assert_nothing_left().await;
}

/// The first ten lines as the sandbox repeats them, newer and changed; then the others.
fn with_newer(ndjson: &[u8]) -> Vec<u8> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for (n, line) in lines(ndjson).into_iter().enumerate() {
        if n >= 10 {
            out.push(line.to_vec());
            continue;
        }
        let mut resource: Value = serde_json::from_slice(line).expect("a resource");
        let last: chrono::DateTime<chrono::Utc> =
            resource["meta"]["lastUpdated"].as_str().expect("lastUpdated").parse().expect("an instant");
        resource["meta"]["lastUpdated"] = json!((last + chrono::Duration::days(1)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        resource["language"] = json!("x-newer");
        out.push(resource.to_string().into_bytes());
    }
    out.join(&b'\n')
}

async fn keeps_the_newer(fault: &str) {
    let app = start().await;
    app.sandbox.fault(fault);
    let job = app.export_of(GROUP, &["Condition"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), found("duplicates", "warning"));
    let served = app.sandbox.ndjson(GROUP, "Condition");
    assert!(lines(&served).len() > 10, "too few conditions to show anything");
    app.assert_rows_are(job, "Condition", &with_newer(&served)).await;
    assert_eq!(status["records_loaded"], lines(&served).len());
    let counts: Vec<i64> = status["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| {
            let n = |name: &str| file[name].as_i64().expect("a number");
            assert_eq!(n("lines"), n("rows") + n("duplicates") + n("rejects"), "{file}");
            n("duplicates")
        })
        .collect();
    assert_eq!(counts.iter().sum::<i64>(), 10, "{status:#}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_resource_that_is_twice_in_a_file_the_newer_is_kept() {
    keeps_the_newer("file:duplicate-ids@Condition").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_resource_that_is_in_two_files_the_newer_is_kept() {
    keeps_the_newer("status:duplicate-across-files").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_resource_of_a_type_that_r4_does_not_know_the_newer_is_kept_as_well() {
    let topic = |n: usize, day: usize| {
        format!(
            r#"{{"resourceType":"SubscriptionTopic","id":"t{n}","meta":{{"lastUpdated":"2024-01-0{day}T00:00:00Z"}},"version":"{day}"}}"#
        )
    };
    let lines: Vec<String> = (0..5).map(|n| topic(n, 1)).chain((0..5).map(|n| topic(n, 2))).collect();
    let (app, _folder) = serving_as("SubscriptionTopic", &lines, 5).await;
    let job = app.export("mine").await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["records_loaded"], 5, "{status:#}");
    app.assert_rows_are(job, "SubscriptionTopic", lines[5..].join("\n").as_bytes()).await;
    assert_eq!(rows::counts(&app.pool, job).await, [("other_resources".to_owned(), 5)]);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_stays_wrong_is_believed_after_three_readings() {
    let app = start().await;
    app.sandbox.fault("status:wrong-count*always");
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete", "{status:#}");
    assert_eq!(findings(&status), found("count_mismatch", "error"));
    assert_eq!(app.sandbox.stats().files_started, 3 + 1, "the one in doubt thrice, the other once");
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    app.assert_nothing_left().await;
    let (code, answer) = app.operate(job, "accept").await;
    assert_eq!(code, 200, "{answer}");
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), found("count_mismatch", "error"));
    app.assert_nothing_left().await;
}

/// An export of three types, each with a fault in its file, that ends as if there had been none.
async fn shrugs_off(faults: [&str; 3]) -> App {
    let app = start().await;
    for fault in faults {
        app.sandbox.fault(fault);
    }
    let kinds = ["Patient", "Condition", "Encounter"];
    let job = app.export_of(GROUP, &kinds).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]));
    app.assert_rows_of(job, GROUP, &kinds).await;
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().faults, 3);
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_bodies_are_read_again_until_they_are_whole() {
    let app = shrugs_off(["file:truncate=200@Patient", "file:drop=200@Condition", "file:corrupt-gzip@Encounter"]).await;
    assert_eq!(app.sandbox.stats().kick_offs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn byte_order_marks_blank_lines_and_a_missing_last_newline_are_no_faults() {
    shrugs_off(["file:bom@Patient", "file:blank-lines@Condition", "file:no-final-newline@Encounter"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_could_not_export_is_a_finding_in_its_words() {
    let app = start().await;
    app.sandbox.fault("status:error-outcome=error");
    let job = app.export_of(GROUP, &["Patient"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "incomplete");
    assert_eq!(findings(&status), found("server_outcome", "error"));
    let words = "One resource could not be exported";
    assert!(status["findings"][0]["message"].as_str().is_some_and(|m| m.contains(words)), "{status:#}");
    app.assert_rows_of(job, GROUP, &["Patient"]).await;

    app.sandbox.fault("status:error-outcome=warning");
    let job = app.export_of(GROUP, &["Condition"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(findings(&status), found("server_outcome", "warning"));
    assert!(status["findings"][0]["message"].as_str().is_some_and(|m| m.contains(words)), "{status:#}");
    app.assert_rows_of(job, GROUP, &["Condition"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_in_error_files_is_not_counted_as_rows() {
    let app = start().await;
    app.sandbox.fault("status:error-outcome=warning");
    let job = app.export_of(GROUP, &["Patient"]).await;
    let status = app.until(job, "completed").await;
    let in_psql: i64 = sqlx::query_scalar("SELECT rows FROM completed_exports WHERE etl_job_id = $1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("the view");
    let (_, page) = app.request(reqwest::Method::GET, "/api/bulk-data/jobs", None, &[]).await;
    assert_eq!(status["records_loaded"], app.sandbox.expected(Some(GROUP))["Patient"]);
    assert_eq!(page["jobs"][0]["records_loaded"], status["records_loaded"]);
    assert_eq!(json!(in_psql), status["records_loaded"]);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_link_is_refreshed_from_the_manifest() {
    let app = start().await;
    app.sandbox.fault("file:expired@Condition");
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]));
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!((stats.manifests, stats.kick_offs), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_files_fail_the_export_and_a_retry_starts_over() {
    let app = start().await;
    app.sandbox.fault("file:expired*always@Condition");
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "expired", "{status:#}");
    assert!(status["remedy"].as_str().is_some_and(|remedy| remedy.contains("starts over")), "{status:#}");
    app.sandbox.clear_faults();
    let (code, answer) = app.operate(job, "retry").await;
    assert_eq!(code, 200, "{answer}");
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_revoked_between_two_files_is_minted_again() {
    let sandbox = SandboxConfig { auth: true, ..at_once() };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    app.sandbox.fault("file:unauthorized@Condition");
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!((stats.tokens_issued, stats.kick_offs), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn being_told_to_slow_down_costs_no_attempts() {
    // One attempt is all there is: any that were counted would end the export.
    let settings = vec![("RETRY_MAX_ATTEMPTS", "1".to_owned())];
    let app = App::start(Setup { sandbox: at_once(), settings, ..setup() }).await;
    for place in ["kick-off", "status", "file"] {
        app.sandbox.fault(&*format!("{place}:status=429;retry-after=1*2"));
    }
    let job = app.export_of(GROUP, &["Condition"]).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Condition"]).await;
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!((stats.faults, stats.kick_offs), (6, 1));
}
