//! The description of the API is true: what the running API answers is what it describes, and what it describes is taken in.

use std::time::Duration;

use bulkhead_tests::{App, SandboxConfig, Setup, app::client};
use reqwest::{Method, header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "FallonHealth";

/// The served description, its objects closed: an answer with a member that is not described is wrong too.
struct Description(Value);

impl Description {
    async fn of(app: &App) -> Self {
        let (code, mut document) = app.request(Method::GET, "/openapi.json", None, &[]).await;
        assert_eq!((code, &document["openapi"]), (200, &json!("3.1.0")));
        for schema in document["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
            if schema["properties"].is_object() {
                schema["additionalProperties"] = json!(false);
            }
        }
        Self(document)
    }

    fn check(&self, schema: &Value, value: &Value, what: &str) {
        let whole =
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema], "components": self.0["components"]});
        let validator = jsonschema::options().should_validate_formats(true).build(&whole).expect("a schema");
        let errors: Vec<String> = validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?}\n{value:#}");
    }

    /// The answer of an operation is one that it describes: its status, its content type, its body.
    fn check_answer(&self, method: &str, path: &str, code: u16, kind: &str, body: &Value) {
        let what = format!("{method} {path}: {code}");
        let responses = &self.0["paths"][path][method]["responses"];
        let response = &responses[code.to_string()];
        assert!(response.is_object(), "{what} is not described: {body:#}");
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{what}: {kind} is not described");
        self.check(schema, body, &what);
    }

    fn check_body(&self, path: &str, body: &Value) {
        self.check(&self.0["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"], body, path);
    }
}

/// One that the description knows: its path there, and its answer checked against it.
async fn ask(app: &App, described: &Description, method: Method, template: &str, path: &str, body: Option<&str>) -> Value {
    let mut request = client().request(method.clone(), format!("{}{path}", app.api)).header("prefer", "wait=0");
    if let Some(body) = body {
        request = request.body(body.to_owned());
    }
    let answer = request.send().await.expect("the API answers");
    let (code, kind) = (answer.status().as_u16(), answer.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned());
    let body: Value = answer.json().await.expect("JSON");
    described.check_answer(&method.as_str().to_ascii_lowercase(), template, code, &kind, &body);
    body
}

const KICK_OFF: &str = "/api/bulk-data/kick-off";
const STATUS: &str = "/api/bulk-data/status/{job_id}";
const JOBS: &str = "/api/bulk-data/jobs";
const JOB: &str = "/api/bulk-data/jobs/{job_id}";

fn job_of(answer: &Value) -> Uuid {
    answer["job_id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no job_id: {answer:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_running_api_answers_is_what_is_described() {
    let sandbox = SandboxConfig { auth: true, export_time: Duration::ZERO, ..setup().sandbox };
    let mut app = App::start(Setup { sandbox, workers: 0, ..setup() }).await;
    let described = Description::of(&app).await;
    let status = async |app: &App, job: Uuid, wanted: &str| {
        let status = ask(app, &described, Method::GET, STATUS, &format!("/api/bulk-data/status/{job}"), None).await;
        assert_eq!(status["status"], wanted, "{status:#}");
    };
    let submit = async |app: &App, body: Value| {
        described.check_body(KICK_OFF, &body);
        job_of(&ask(app, &described, Method::POST, KICK_OFF, KICK_OFF, Some(&body.to_string())).await)
    };

    // Every form of a body that the description allows is taken in, and each state is as described.
    let first = submit(&app, app.body_of(GROUP, &["Patient", "Condition"])).await;
    let second = submit(&app, app.body_of(GROUP, &["Patient", "Condition"])).await;
    status(&app, first, "queued").await;
    status(&app, second, "queued").await;
    let mut all = app.body(GROUP);
    for (name, value) in [
        ("_type", json!("Patient")),
        ("_since", json!("2000-01-01T00:00:00Z")),
        ("_until", json!("2100-01-01")),
        ("_elements", json!(["Patient.name", "Condition"])),
        ("_outputFormat", json!("application/fhir+ndjson")),
        ("accept_partial", json!(true)),
        ("private_key", app.credentials().private_jwk.clone()),
        ("parameters", json!({"_vendor": [1, "x", true]})),
        ("bearer_token", Value::Null),
    ] {
        all[name] = value;
    }
    let everything = submit(&app, all).await;
    app.operate(everything, "cancel").await;
    status(&app, everything, "cancelled").await;
    app.sandbox.fault("status:hold");
    app.sandbox.fault("file:hold=half@Condition");
    app.add_worker();
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    status(&app, first, "in-progress").await;
    app.sandbox.release();
    app.until_sql("SELECT bool_or(state = 'loaded') FROM bulkhead.file_parts WHERE export_id = $1", first).await;
    status(&app, first, "downloading").await;
    app.sandbox.release();
    for job in [first, second] {
        app.until(job, "completed").await;
        status(&app, job, "completed").await;
    }
    app.sandbox.fault("file:malformed-line*always");
    let incomplete = submit(&app, app.body_of("MinutemanHealth", &["Patient"])).await;
    app.until(incomplete, "failed").await;
    app.sandbox.clear_faults();
    status(&app, incomplete, "failed").await;
    let mut nobody = app.body("TuftsHealthPlan");
    nobody["client_id"] = json!("nobody");
    let refused = submit(&app, nobody).await;
    app.until(refused, "failed").await;
    status(&app, refused, "failed").await;

    let page = ask(&app, &described, Method::GET, JOBS, "/api/bulk-data/jobs?limit=2", None).await;
    ask(&app, &described, Method::GET, JOBS, page["next"].as_str().expect("a next page"), None).await;
    ask(&app, &described, Method::GET, JOB, &format!("/api/bulk-data/jobs/{first}"), None).await;
    for body in [
        json!({"all": true, "dry_run": true}),
        json!({"reason": "credentials"}),
        json!({"group": "TuftsHealthPlan", "since": "2020-01-01"}),
    ] {
        described.check_body("/api/bulk-data/retry", &body);
        ask(&app, &described, Method::POST, "/api/bulk-data/retry", "/api/bulk-data/retry", Some(&body.to_string())).await;
    }
    let act = async |job: Uuid, word: &str| {
        let (template, path) = (format!("{JOB}/{word}"), format!("/api/bulk-data/jobs/{job}/{word}"));
        ask(&app, &described, Method::POST, &template, &path, None).await
    };
    act(incomplete, "accept").await;
    app.until(incomplete, "completed").await;
    status(&app, incomplete, "completed").await;
    act(incomplete, "retry").await;
    act(first, "cancel").await;
    act(Uuid::new_v4(), "retry").await;
    app.until(refused, "failed").await;
    act(refused, "retry").await;
    let resume = json!({"status_url": app.status(first).await["status_url"]});
    described.check_body("/api/bulk-data/resume", &resume);
    ask(&app, &described, Method::POST, "/api/bulk-data/resume", "/api/bulk-data/resume", Some(&resume.to_string())).await;
    ask(&app, &described, Method::DELETE, JOB, &format!("/api/bulk-data/jobs/{everything}"), None).await;
    for path in ["/health/live", "/health/ready", "/openapi.json"] {
        ask(&app, &described, Method::GET, path, path, None).await;
    }

    // Problems.
    let large = "x".repeat((1 << 20) + 1);
    for body in ["", "{", "{}", r#"{"fhir_server_url": "x", "who": 1}"#, r#"{"private_key": "{"kty":"RSA"}"}"#, &large] {
        ask(&app, &described, Method::POST, KICK_OFF, KICK_OFF, Some(body)).await;
        ask(&app, &described, Method::POST, "/api/bulk-data/retry", "/api/bulk-data/retry", Some(body)).await;
    }
    for path in ["?limit=0", "?page=2", "?reason=x", "?after=x"] {
        ask(&app, &described, Method::GET, JOBS, &format!("{JOBS}{path}"), None).await;
    }
    for id in ["7", "00000000-0000-0000-0000-000000000000"] {
        ask(&app, &described, Method::GET, STATUS, &format!("/api/bulk-data/status/{id}"), None).await;
    }
    app.until(refused, "failed").await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_description_forbids_is_refused() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let described = Description::of(&app).await;
    let good = app.body(GROUP);
    for (path, field, value) in [
        (KICK_OFF, "recource_types", json!([])),
        (KICK_OFF, "use_smart_auth", json!("yes")),
        (KICK_OFF, "resource_types", json!([1])),
        (KICK_OFF, "algorithm", json!("HS256")),
        (KICK_OFF, "_outputFormat", json!("text/csv")),
        (KICK_OFF, "parameters", json!([])),
        (KICK_OFF, "patient", json!({"a": 1})),
        ("/api/bulk-data/retry", "status", json!("completed")),
        ("/api/bulk-data/retry", "reason", json!("x")),
        ("/api/bulk-data/retry", "since", json!(1)),
    ] {
        let mut body = if path == KICK_OFF { good.clone() } else { json!({"group": GROUP, "dry_run": true}) };
        if field == "algorithm" {
            body["use_smart_auth"] = json!(true);
        }
        described.check_body(path, &body);
        body[field] = value;
        let schema = &described.0["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        let whole = json!({"allOf": [schema], "components": described.0["components"]});
        assert!(!jsonschema::validator_for(&whole).expect("a schema").is_valid(&body), "{path}: {body}");
        let (code, problem) = app.request(Method::POST, path, Some(&body), &[]).await;
        assert_eq!(code, 400, "{path}: {body}: {problem}");
    }
}

/// A client that unpacks nothing by itself.
#[expect(clippy::disallowed_methods, reason = "a browser, not a worker")]
fn browser() -> reqwest::Client {
    reqwest::Client::builder().gzip(false).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_that_shows_it_fetches_nothing_from_elsewhere() {
    let app = App::start(Setup { workers: 0, ..setup() }).await;
    let get = async |path: &str, coding: &str| {
        let request = browser().get(format!("{}{path}", app.api)).header(header::ACCEPT_ENCODING, coding);
        request.send().await.expect("an answer")
    };
    let page = get("/docs", "identity").await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self';") && policy.contains("connect-src 'self'"),
        "{policy}"
    );
    let html = page.text().await.expect("a page");
    assert!(!html.contains("://") && !html.contains("<script>"), "{html}");
    let mut files: Vec<&str> = html.split('"').filter(|text| text.starts_with("/docs/")).collect();
    files.sort_unstable();
    assert_eq!(files, ["/docs/favicon-32x32.png", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]);
    for (file, kind) in files.iter().zip(["image/png", "text/javascript", "text/javascript", "text/css"]) {
        let plain = get(file, "identity").await;
        assert_eq!(plain.status(), 200, "{file}");
        assert!(plain.headers()[header::CONTENT_TYPE].to_str().expect("text").starts_with(kind), "{file}: {:?}", plain.headers());
        assert_eq!(plain.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
        let plain = plain.bytes().await.expect("a file");
        let packed = get(file, "br, gzip").await;
        let coding = packed.headers().get(header::CONTENT_ENCODING).cloned();
        assert_eq!(coding.is_some(), *file != "/docs/start.js", "{file}");
        let mut packed = packed.bytes().await.expect("a file").to_vec();
        if coding.is_some() {
            let mut read = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut read).expect("gzip");
            packed = read;
        }
        assert!(packed == plain, "{file} is another file when it is packed");
    }
    let (code, problem) = app.request(Method::GET, "/docs/index.html", None, &[]).await;
    assert_eq!((code, &problem["type"]), (404, &json!("/problems/not-found")));
    // Answers that are no pages may do nothing at all.
    let answer = get("/api/bulk-data/jobs", "identity").await;
    assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
}
