//! The HTTP API as its users meet it: the guide's words, problems that say what to do next, and nothing done twice.

use std::time::{Duration, Instant};

use bulkhead_tests::{App, SandboxConfig, Setup, app::client};
use reqwest::{
    Method,
    header::{ALLOW, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";
const KICK_OFF: &str = "/api/bulk-data/kick-off";

async fn start(workers: usize) -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, ..setup().sandbox };
    App::start(Setup { sandbox, workers, ..setup() }).await
}

/// A request as it is: status, headers, and the body as JSON.
async fn ask(app: &App, method: Method, path: &str, body: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Value) {
    let mut request = client().request(method, format!("{}{path}", app.api)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("the API answers");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.expect("a body");
    (status, headers, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn problem(app: &App, method: Method, path: &str, body: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let (status, headers, problem) = ask(app, method, path, body, headers).await;
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{path}: {problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
    let text = |name: &str| problem[name].as_str().expect("a text").to_owned();
    (status, text("type"), text("detail"))
}

fn job_of(answer: &Value) -> Uuid {
    answer["job_id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no job_id: {answer:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_used_is_told_why_and_what_to_do() {
    let app = start(0).await;
    let good = "https://fhir.example.org/r4/Group/1";
    let (jwk_d, jwk) = ("c2VjcmV0", r#"{"kty":"RSA","kid":"1","n":"AA","e":"AQAB","d":"c2VjcmV0"}"#);
    // As the guide's curl command sends it when its key was not escaped.
    let unescaped = format!(r#"{{"fhir_server_url": "{good}", "client_id": "me", "private_key": "{jwk}", "algorithm": "RS384"}}"#);
    let since = |since: &str| json!({"fhir_server_url": good, "since": since}).to_string();
    let to = |url: &str| json!({ "fhir_server_url": url }).to_string();
    let cases = [
        (json!({"fhir_server_url": good, "recource_types": []}).to_string(), "unknown-field", "\"recource_types\""),
        (to("fhir.example.org/r4"), "invalid-request", "not an absolute URL"),
        (to("http://fhir.example.org/r4"), "invalid-request", "ALLOWED_HTTP_HOSTS"),
        (to("https://169.254.169.254/latest"), "invalid-request", "link-local or cloud metadata"),
        (to("https://[fe80::1]/fhir"), "invalid-request", "link-local or cloud metadata"),
        (to("https://metadata.google.internal/fhir"), "invalid-request", "link-local or cloud metadata"),
        (to("https://me:secret@fhir.example.org/r4"), "invalid-request", "user name or password"),
        (
            json!({"fhir_server_url": good, "use_smart_auth": true, "client_id": "me"}).to_string(),
            "invalid-request",
            "private_key is missing",
        ),
        (
            json!({"fhir_server_url": good, "use_smart_auth": true, "client_id": "me", "private_key": "x"}).to_string(),
            "invalid-request",
            "private_key is neither JSON nor PEM",
        ),
        (unescaped, "unescaped-key", "not escaped"),
        (since("yesterday"), "invalid-request", "2023-01-01T00:00:00Z"),
        (since("2023-01-01T00:00:00"), "invalid-request", "time zone"),
        ("fhir_server_url=x".to_owned(), "invalid-json", "line 1 column"),
        (String::new(), "invalid-json", "empty"),
        ("[]".to_owned(), "invalid-request", "JSON object"),
    ];
    for (body, kind, detail) in cases {
        let (status, told_kind, told) = problem(&app, Method::POST, KICK_OFF, &body, &[]).await;
        assert_eq!((status, told_kind), (400, format!("/problems/{kind}")), "{body}: {told}");
        assert!(told.contains(detail), "{body}: {told}");
        assert!(!told.contains(jwk_d) && !told.contains("me:secret"), "a secret is repeated: {told}");
    }
    let nobody = Uuid::new_v4();
    let large = format!(r#"{{"fhir_server_url": "{}"}}"#, "x".repeat(1 << 20));
    for (method, path, body, headers, status, kind, detail) in [
        (Method::GET, format!("/api/bulk-data/status/{nobody}"), "", vec![], 404, "not-found", nobody.to_string()),
        (Method::POST, format!("/api/bulk-data/jobs/{nobody}/retry"), "", vec![], 404, "not-found", nobody.to_string()),
        (Method::GET, "/api/bulk-data/status/7".to_owned(), "", vec![], 400, "invalid-request", "not a UUID".to_owned()),
        (Method::GET, "/api/bulk-data/job".to_owned(), "", vec![], 404, "not-found", "/api/bulk-data/kick-off".to_owned()),
        (Method::GET, "/api/bulk-data/jobs?limit=0".to_owned(), "", vec![], 400, "invalid-request", "from 1 to".to_owned()),
        (Method::GET, "/api/bulk-data/jobs?page=2".to_owned(), "", vec![], 400, "unknown-field", "\"page\"".to_owned()),
        (Method::GET, KICK_OFF.to_owned(), "", vec![], 405, "method-not-allowed", "GET".to_owned()),
        (Method::POST, KICK_OFF.to_owned(), &*large, vec![], 413, "body-too-large", "1 MiB".to_owned()),
        (Method::POST, KICK_OFF.to_owned(), "{}", vec![("host", "evil.example.org")], 421, "wrong-host", "API_ALLOWED_HOSTS".to_owned()),
        (Method::POST, KICK_OFF.to_owned(), "{}", vec![("origin", "https://evil.example.org")], 403, "cross-origin", "origin".to_owned()),
    ] {
        let (told_status, told_kind, told) = problem(&app, method, &path, body, &headers).await;
        assert_eq!((told_status, told_kind), (status, format!("/problems/{kind}")), "{path}: {told}");
        assert!(told.contains(&detail), "{path}: {told}");
    }
    let (_, headers, _) = ask(&app, Method::GET, KICK_OFF, "", &[]).await;
    assert_eq!(headers[ALLOW], "POST");
    let exports: i64 = sqlx::query_scalar("SELECT count(*) FROM bulkhead.exports").fetch_one(&app.pool).await.expect("a count");
    assert_eq!(exports, 0, "nothing was taken in");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_the_fields_that_the_guides_script_reads() {
    let mut app =
        App::start(Setup { sandbox: SandboxConfig { export_time: Duration::from_secs(2), ..setup().sandbox }, workers: 0, ..setup() })
            .await;
    let check = |status: &Value| {
        assert!(status["files"].is_array(), "{status:#}");
        assert!(status["records_loaded"].is_u64(), "{status:#}");
        assert!(status.get("progress").is_none_or(Value::is_string), "{status:#}");
        assert_eq!(status.get("error").is_some(), status["status"] == "failed", "{status:#}");
    };
    let job = app.export_of(GROUP, &["Patient"]).await;
    let queued = app.status(job).await;
    check(&queued);
    assert_eq!((&queued["status"], queued.get("progress")), (&json!("queued"), None));
    app.add_worker();
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.stages WHERE export_id = $1 AND kind = 'poll' AND progress IS NOT NULL)", job).await;
    let waiting = app.status(job).await;
    check(&waiting);
    assert_eq!(waiting["status"], "in-progress");
    assert!(waiting["progress"].as_str().is_some_and(|progress| progress.contains("% complete")), "{waiting:#}");
    let completed = app.until(job, "completed").await;
    check(&completed);
    assert_eq!(completed.get("progress"), None);
    assert_eq!(completed["files"].as_array().map(Vec::len), Some(1));
    assert_eq!(completed["records_loaded"], app.sandbox.expected(Some(GROUP))["Patient"]);

    let (status, answer) = app.request(Method::POST, KICK_OFF, Some(&app.body("Nowhere")), &[]).await;
    assert_eq!((status, &answer["status"]), (200, &json!("failed")), "{answer:#}");
    let failed = app.status(job_of(&answer)).await;
    check(&failed);
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("There is no Group Nowhere")), "{failed:#}");
    assert!(failed["remedy"].as_str().is_some_and(|remedy| remedy.contains("Group")), "{failed:#}");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_other_error_texts_appear_for_their_causes() {
    let settings = vec![("HTTP_TIMEOUT_READ", "0.5".to_owned()), ("RETRY_MAX_ATTEMPTS", "2".to_owned())];
    // Without search, which would take the place of an export of too many files.
    let sandbox = SandboxConfig { export_time: Duration::ZERO, switches: "no-search".to_owned(), ..setup().sandbox };
    let app = App::start(Setup { sandbox, settings, ..setup() }).await;
    for (fault, words, reason) in [
        ("kick-off:too-many-files", "Bulk export reported error: Too many files", "too_many_files"),
        ("status:too-many-files", "Bulk export reported error: Too many files", "too_many_files"),
        ("status:hold*2", "Timeout exceeded", "unreachable"),
    ] {
        app.sandbox.fault(fault);
        let job = app.export_of(GROUP, &["Patient"]).await;
        let status = app.until(job, "failed").await;
        assert!(status["error"].as_str().is_some_and(|error| error.contains(words)), "{fault}: {status:#}");
        assert!(status["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{fault}: {status:#}");
        assert_eq!(status["failure"]["reason"], reason, "{fault}");
    }
    app.sandbox.release();
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_idempotency_key_is_the_same_job() {
    let app = start(1).await;
    let body = app.body_of(GROUP, &["Patient"]);
    let headers = [("idempotency-key", "nightly-2026-01-01"), ("prefer", "wait=0")];
    // At the same moment, then once more.
    let kick_off = || app.request(Method::POST, KICK_OFF, Some(&body), &headers);
    let (one, two) = tokio::join!(kick_off(), kick_off());
    let three = kick_off().await;
    let job = job_of(&one.1);
    assert_eq!([job_of(&two.1), job_of(&three.1)], [job, job]);
    app.until(job, "completed").await;
    assert_eq!(job_of(&kick_off().await.1), job, "also when it has ended");
    let other = app.body_of(GROUP, &["Condition"]).to_string();
    let (status, kind, detail) = problem(&app, Method::POST, KICK_OFF, &other, &headers).await;
    assert_eq!((status, &*kind), (422, "/problems/idempotency-key-reused"));
    assert!(detail.contains(&job.to_string()), "{detail}");
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_say_how_long_it_waits() {
    let app = start(1).await;
    app.sandbox.fault("kick-off:hold");
    let began = Instant::now();
    let (_, answer) = app.request(Method::POST, KICK_OFF, Some(&app.body_of(GROUP, &["Patient"])), &[("prefer", "wait=1")]).await;
    assert!((Duration::from_secs(1)..Duration::from_secs(9)).contains(&began.elapsed()), "{:?}", began.elapsed());
    let job = job_of(&answer);
    assert_eq!(answer["status_url"], Value::Null, "{answer:#}");
    assert!(answer["message"].as_str().is_some_and(|message| message.contains("goes on by itself")), "{answer:#}");

    // A status that is waited for comes as soon as there is news, not later.
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    let path = format!("/api/bulk-data/status/{job}");
    let (_, headers, _) = ask(&app, Method::GET, &path, "", &[]).await;
    let etag = headers["etag"].to_str().expect("ASCII").to_owned();
    let began = Instant::now();
    let wait = [("prefer", "wait=60"), ("if-none-match", &*etag)];
    let (news, ()) = tokio::join!(ask(&app, Method::GET, &path, "", &wait), async { app.sandbox.release() });
    assert_eq!(news.0, 200);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    app.until(job, "completed").await;
    app.assert_nothing_left().await;

    let (_, headers, _) = ask(&app, Method::GET, &path, "", &[]).await;
    let (status, again, body) = ask(&app, Method::GET, &path, "", &[("if-none-match", headers["etag"].to_str().expect("ASCII"))]).await;
    assert_eq!((status, body), (304, json!("")), "nothing is new");
    assert_eq!(again["etag"], headers["etag"]);

    // Without a wish it waits for the server's status URL.
    let (_, answer) = app.request(Method::POST, KICK_OFF, Some(&app.body_of(GROUP, &["Condition"])), &[]).await;
    assert!(answer["status_url"].as_str().is_some_and(|url| url.starts_with(&app.sandbox.base_url())), "{answer:#}");
    app.until(job_of(&answer), "completed").await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_group_again_waits_for_the_first() {
    let app = start(1).await;
    app.sandbox.fault("status:hold");
    let body = app.body_of(GROUP, &["Patient", "Condition"]);
    let first = app.submit(&body).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    // The order of the types is no difference.
    let (_, answer) = app.request(Method::POST, KICK_OFF, Some(&app.body_of(GROUP, &["Condition", "Patient"])), &[]).await;
    let second = job_of(&answer);
    assert_ne!(second, first);
    assert!(answer["message"].as_str().is_some_and(|message| message.contains(&first.to_string())), "{answer:#}");
    let status = app.status(second).await;
    assert_eq!((&status["status"], &status["waits_for"]), (&json!("queued"), &json!(first)), "{status:#}");
    assert!(status["progress"].as_str().is_some_and(|progress| progress.contains(&first.to_string())), "{status:#}");
    assert_eq!(app.sandbox.stats().kick_offs, 1, "the server is not asked meanwhile");
    app.sandbox.release();
    app.until(first, "completed").await;
    app.until(second, "completed").await;
    app.assert_rows_of(second, GROUP, &["Patient", "Condition"]).await;
    app.assert_rows_of(first, GROUP, &["Patient", "Condition"]).await;
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_come_page_by_page_newest_first() {
    let app = start(1).await;
    let groups = [
        "BMCHealthNet",
        "BlueCrossBlueShield",
        "FallonHealth",
        "HarvardPilgrimHealthCare",
        "HealthNewEngland",
        "MinutemanHealth",
        "NeighborhoodHealthPlan",
    ];
    let mut jobs = Vec::new();
    for group in groups {
        jobs.push(app.export_of(group, &["Patient"]).await);
    }
    let mut path = "/api/bulk-data/jobs?limit=3".to_owned();
    let mut pages: Vec<Vec<Uuid>> = Vec::new();
    loop {
        let (status, page) = app.request(Method::GET, &path, None, &[]).await;
        assert_eq!(status, 200, "{page}");
        pages.push(page["jobs"].as_array().expect("jobs").iter().map(job_of).collect());
        if pages.len() == 1 {
            // What is submitted meanwhile shifts nothing.
            jobs.push(app.export_of("TuftsHealthPlan", &["Patient"]).await);
        }
        let Some(next) = page["next"].as_str() else { break };
        path = next.to_owned();
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    let newest_first: Vec<Uuid> = jobs[..7].iter().rev().copied().collect();
    assert_eq!(pages.concat(), newest_first);
    for job in &jobs {
        app.until(*job, "completed").await;
    }
    let (_, page) = app.request(Method::GET, "/api/bulk-data/jobs?status=completed&group=FallonHealth", None, &[]).await;
    let listed = page["jobs"].as_array().expect("jobs");
    assert_eq!(listed.iter().map(job_of).collect::<Vec<_>>(), [jobs[2]]);
    assert_eq!(listed[0]["records_loaded"], app.sandbox.expected(Some("FallonHealth"))["Patient"]);
    assert_eq!(page["next"], Value::Null);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_resumed_by_its_status_url() {
    let app = start(1).await;
    let resume = async |status_url: &str| {
        let (status, answer) = app.request(Method::POST, "/api/bulk-data/resume", Some(&json!({ "status_url": status_url })), &[]).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let (_, answer) = app.request(Method::POST, KICK_OFF, Some(&app.body_of(GROUP, &["Patient"])), &[]).await;
    let job = job_of(&answer);
    assert_eq!(job_of(&resume(answer["status_url"].as_str().expect("a status URL")).await), job, "it is known");
    app.until(job, "completed").await;

    // Somebody else kicked this one off.
    let url = format!("{}/Group/{GROUP}/$export?_type=Patient,Condition", app.sandbox.base_url());
    let begun = client().get(url).header("prefer", "respond-async").header("accept", "application/fhir+json").send().await;
    let begun = begun.expect("the server answers");
    let status_url = begun.headers()[CONTENT_LOCATION].to_str().expect("a URL");
    let resumed = job_of(&resume(status_url).await);
    assert_ne!(resumed, job);
    let status = app.until(resumed, "completed").await;
    assert_eq!((&status["level"], &status["group_id"], &status["status_url"]), (&json!("unknown"), &Value::Null, &json!(status_url)));
    app.assert_rows_of(resumed, GROUP, &["Patient", "Condition"]).await;
    assert_eq!(job_of(&resume(status_url).await), resumed, "now it is known as well");
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!((stats.kick_offs, stats.deletes), (2, 2));
}
