//! Bulkhead under test: database, API, workers, and the server it exports from.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_sandbox::{ClientCredentials, Sandbox, SandboxConfig};
use bulkhead_shared::secrets::Cipher;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Database, Worker, rows};

/// Nothing in these tests takes longer, on a slow machine too.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a test wants.
pub struct Setup {
    pub sandbox: SandboxConfig,
    pub workers: usize,
    /// More settings of the workers, as environment variables.
    pub settings: Vec<(&'static str, String)>,
    /// A Postgres of its own, to stop and start.
    pub own_postgres: bool,
    /// The program of the worker: `env!("CARGO_BIN_EXE_bulkhead-test-worker")`.
    pub program: &'static str,
}

/// All of it.
pub struct App {
    pub database: Database,
    pub pool: PgPool,
    pub sandbox: Sandbox,
    pub workers: Vec<Worker>,
    pub api: String,
    http: reqwest::Client,
    setup: Setup,
    credentials: Option<ClientCredentials>,
    folder: TempDir,
    api_task: tokio::task::JoinHandle<()>,
}

impl App {
    /// Starts everything.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn start(setup: Setup) -> Self {
        let database = if setup.own_postgres { Database::own().await } else { Database::shared().await };
        Self::start_on(database, setup).await
    }

    /// Starts everything but the database.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn start_on(database: Database, setup: Setup) -> Self {
        let sandbox = Sandbox::start(setup.sandbox.clone()).expect("the sandbox starts");
        let credentials = setup.sandbox.auth.then(|| sandbox.register_client());
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("blobs")).expect("a folder");
        let (api, api_task) = serve(&database).await;
        let mut app = Self {
            pool: database.pool.clone(),
            database,
            sandbox,
            workers: Vec::new(),
            api,
            http: client(),
            credentials,
            folder,
            api_task,
            setup,
        };
        for _ in 0..app.setup.workers {
            app.add_worker();
        }
        app
    }

    /// One more worker process.
    pub fn add_worker(&mut self) -> usize {
        self.add_worker_with(&[])
    }

    /// One more worker process, with settings of its own; an empty one is left out.
    pub fn add_worker_with(&mut self, own: &[(&str, &str)]) -> usize {
        let n = self.workers.len();
        let mut settings = vec![
            ("DATABASE_URL".to_owned(), self.database.url.clone()),
            ("BULKHEAD_SECRET_KEY".to_owned(), secret_key()),
            ("BULK_DATA_DIR".to_owned(), self.blobs().display().to_string()),
            ("RETRY_BASE_DELAY".to_owned(), "0.2".to_owned()),
            ("RETRY_MAX_DELAY".to_owned(), "1".to_owned()),
            ("RETRY_MAX_ATTEMPTS".to_owned(), "20".to_owned()),
            ("LOG_LEVEL".to_owned(), "info,bulkhead_worker=debug".to_owned()),
        ];
        settings.extend(self.setup.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        settings.retain(|(name, _)| own.iter().all(|(other, _)| name != other));
        settings.extend(own.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let log = self.folder.path().join(format!("worker-{n}.log"));
        self.workers.push(Worker::start(self.setup.program, &settings, log));
        n
    }

    /// Where downloaded parts are.
    pub fn blobs(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }

    /// The API dies as if killed, and another starts.
    pub async fn restart_api(&mut self) {
        self.api_task.abort();
        let (api, task) = serve(&self.database).await;
        self.api = api;
        self.api_task = task;
    }

    /// The body of a kick-off of a Group, with credentials where the server wants them.
    pub fn body(&self, group: &str) -> Value {
        let mut body = json!({ "fhir_server_url": format!("{}/Group/{group}", self.sandbox.base_url()) });
        if let Some(credentials) = &self.credentials {
            body["use_smart_auth"] = json!(true);
            body["token_url"] = json!(credentials.token_url);
            body["client_id"] = json!(credentials.client_id);
            body["private_key"] = json!(credentials.private_jwk.to_string());
            body["algorithm"] = json!("RS384");
        }
        body
    }

    /// The body of a kick-off of some types of a Group.
    pub fn body_of(&self, group: &str, kinds: &[&str]) -> Value {
        let mut body = self.body(group);
        body["resource_types"] = json!(kinds);
        body
    }

    /// The client that this test registered, where the server wants one.
    pub fn credentials(&self) -> &ClientCredentials {
        self.credentials.as_ref().expect("a server with authentication")
    }

    /// A request to the API: status and JSON.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.api));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the API answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Submits a body without waiting for the server.
    pub async fn submit(&self, body: &Value) -> Uuid {
        let (status, answer) = self.request(Method::POST, "/api/bulk-data/kick-off", Some(body), &[("prefer", "wait=0")]).await;
        assert_eq!(status, 200, "{answer}");
        answer["job_id"].as_str().expect("a job_id").parse().expect("a UUID")
    }

    /// Submits a Group.
    pub async fn export(&self, group: &str) -> Uuid {
        self.submit(&self.body(group)).await
    }

    /// Submits some types of a Group.
    pub async fn export_of(&self, group: &str, kinds: &[&str]) -> Uuid {
        self.submit(&self.body_of(group, kinds)).await
    }

    /// The status of an export.
    pub async fn status(&self, job: Uuid) -> Value {
        let (status, answer) = self.request(Method::GET, &format!("/api/bulk-data/status/{job}"), None, &[]).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// An operation on an export.
    pub async fn operate(&self, job: Uuid, operation: &str) -> (u16, Value) {
        self.request(Method::POST, &format!("/api/bulk-data/jobs/{job}/{operation}"), None, &[]).await
    }

    /// Waits until an export is what the test expects.
    ///
    /// # Panics
    /// After two minutes, or when it ended otherwise, with what the workers logged.
    pub async fn until(&self, job: Uuid, wanted: &str) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status(job).await;
            let now = status["status"].as_str().unwrap_or_default();
            if now == wanted {
                return status;
            }
            let over = matches!(now, "completed" | "failed" | "cancelled");
            assert!(!over && began.elapsed() < PATIENCE, "wanted {wanted}: {status:#}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until an export has ended, however.
    ///
    /// # Panics
    /// After two minutes.
    pub async fn until_ended(&self, job: Uuid) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status(job).await;
            if matches!(status["status"].as_str(), Some("completed" | "failed" | "cancelled")) {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {status:#}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all exports are deleted.
    ///
    /// # Panics
    /// After two minutes.
    pub async fn until_gone(&self) {
        self.until_sql("SELECT $1::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM bulkhead.exports)", Uuid::nil()).await;
    }

    /// Waits until a query that answers a boolean says yes.
    ///
    /// # Panics
    /// After two minutes.
    pub async fn until_sql(&self, sql: &'static str, job: Uuid) {
        let began = Instant::now();
        loop {
            let yes = sqlx::query_scalar::<_, Option<bool>>(sql).bind(job).fetch_one(&self.pool).await;
            if matches!(yes, Ok(Some(true))) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "never true: {sql} ({yes:?})\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Statements of the test's own.
    ///
    /// # Panics
    /// If Postgres refuses them.
    pub async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.expect("SQL");
    }

    /// What a query that answers a boolean says; no row and NULL are no.
    ///
    /// # Panics
    /// If Postgres refuses it.
    pub async fn is(&self, sql: &str) -> bool {
        let said = sqlx::query_scalar::<_, Option<bool>>(AssertSqlSafe(sql.to_owned())).fetch_optional(&self.pool).await;
        said.expect("SQL").flatten().unwrap_or(false)
    }

    /// All workers' logs.
    pub fn logs(&self) -> String {
        self.workers.iter().enumerate().map(|(n, worker)| ["--- worker ", &n.to_string(), "\n", &worker.log()].concat()).collect()
    }

    /// The rows of an export are exactly what the server serves for the Group: every type, by content.
    ///
    /// # Panics
    /// If not.
    pub async fn assert_rows_right(&self, job: Uuid, group: &str) {
        let expected = self.sandbox.expected(Some(group));
        let all: u64 = expected.values().sum();
        for kind in expected.keys() {
            let served = rows::md5_of_ndjson(&self.pool, &self.sandbox.ndjson(group, kind)).await;
            let loaded = rows::md5_of_rows(&self.pool, job, kind).await;
            assert_eq!(loaded, served, "{kind} of {group}\n{}", self.logs());
        }
        let counted: i64 = rows::counts(&self.pool, job).await.iter().map(|(_, n)| n).sum();
        assert_eq!(counted.unsigned_abs(), all, "rows of {group}");
        assert_eq!(self.status(job).await["records_loaded"], all, "records_loaded of {group}");
    }

    /// The rows of an export are exactly what the server serves of these types, and nothing else.
    ///
    /// # Panics
    /// If not.
    pub async fn assert_rows_of(&self, job: Uuid, group: &str, kinds: &[&str]) {
        for kind in kinds {
            self.assert_rows_are(job, kind, &self.sandbox.ndjson(group, kind)).await;
        }
        let served = self.sandbox.expected(Some(group));
        let all: u64 = kinds.iter().map(|kind| served.get(*kind).copied().unwrap_or_default()).sum();
        let counted: i64 = rows::counts(&self.pool, job).await.iter().map(|(_, n)| n).sum();
        assert_eq!(counted.unsigned_abs(), all, "rows of {group}");
        assert_eq!(self.status(job).await["records_loaded"], all, "records_loaded of {group}");
    }

    /// The rows of one type are exactly these lines.
    ///
    /// # Panics
    /// If not.
    pub async fn assert_rows_are(&self, job: Uuid, kind: &str, ndjson: &[u8]) {
        let loaded = rows::md5_of_rows(&self.pool, job, kind).await;
        assert_eq!(loaded, rows::md5_of_ndjson(&self.pool, ndjson).await, "{kind}\n{}", self.logs());
    }

    /// Nothing is left over: no stage that could run now, no part that is not loaded, no rows of a part that is gone.
    ///
    /// # Panics
    /// If something is.
    pub async fn assert_nothing_left(&self) {
        let began = Instant::now();
        loop {
            let left: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT export_id::text, kind, state FROM bulkhead.stages
                  WHERE state IN ('ready', 'running') AND NOT (kind = 'clean_up' AND state = 'ready' AND next_run_at > clock_timestamp() + interval '1 hour')",
            )
            .fetch_all(&self.pool)
            .await
            .expect("the queue");
            if left.is_empty() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "left in the queue: {left:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A client for the API under test.
#[expect(clippy::disallowed_methods, reason = "the tests are a user of the API, not a worker")]
pub fn client() -> reqwest::Client {
    reqwest::Client::new()
}

/// The key that seals secrets in these tests.
pub fn secret_key() -> String {
    STANDARD.encode([7; 32])
}

/// The real router on a free port.
async fn serve(database: &Database) -> (String, tokio::task::JoinHandle<()>) {
    let state = bulkhead_api::ApiState::new(
        bulkhead_shared::db::pool(&database.url, "bulkhead-api", 8).expect("a pool"),
        Cipher::from_base64(&secret_key()).expect("a key"),
        bulkhead_shared::domain::outgoing::OutgoingRules::default(),
        20,
    );
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = bulkhead_api::router(state);
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    (format!("http://{address}"), task)
}
