//! A server whose exports never end: every status request is answered "202, ask again in so many seconds", and noted.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    routing::get,
};
use sqlx::PgPool;
use uuid::Uuid;

/// Ends when it is dropped.
pub struct Later {
    pub address: SocketAddr,
    noted: Arc<Noted>,
    task: tokio::task::JoinHandle<()>,
}

struct Noted {
    retry_after: Duration,
    asks: Mutex<HashMap<Uuid, Vec<Instant>>>,
}

impl Noted {
    fn asks(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<Instant>>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Later {
    /// On a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start(retry_after: Duration) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let noted = Arc::new(Noted { retry_after, asks: Mutex::default() });
        let router = Router::new().route("/status/{id}", get(ask).delete(StatusCode::ACCEPTED)).with_state(Arc::clone(&noted));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, noted, task }
    }

    /// Exports that are in progress here, and their polls, due one after the other within `spread`.
    ///
    /// # Panics
    /// If they cannot be inserted.
    pub async fn insert_exports(&self, pool: &PgPool, n: i32, spread: Duration) -> Vec<Uuid> {
        let source = Uuid::new_v4();
        sqlx::query("INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES ($1, uuid_send($1), $2, 'open')")
            .bind(source)
            .bind(format!("http://{}/fhir", self.address))
            .execute(pool)
            .await
            .expect("a source");
        sqlx::query_scalar(
            "WITH export AS (INSERT INTO bulkhead.exports (id, source_id, level, same_as, state, status_url)
                             SELECT id, $1, 'system', uuid_send(id), 'in_progress', $2 || id
                               FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $3)) new RETURNING id),
                  numbered AS (SELECT id, row_number() OVER () AS n FROM export)
             INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, max_attempts, next_run_at)
             SELECT gen_random_uuid(), id, $1, 'poll', 'poll', 20, clock_timestamp() + make_interval(secs => $4 * n / $3) FROM numbered
             RETURNING export_id",
        )
        .bind(source)
        .bind(format!("http://{}/status/", self.address))
        .bind(n)
        .bind(spread.as_secs_f64())
        .fetch_all(pool)
        .await
        .expect("exports")
    }

    /// When each export was asked for.
    pub fn asks(&self) -> HashMap<Uuid, Vec<Instant>> {
        self.noted.asks().clone()
    }

    /// How often an export was asked for.
    pub fn asked(&self, export: Uuid) -> usize {
        self.noted.asks().get(&export).map_or(0, Vec::len)
    }

    /// Waits until each of these was asked for so many times.
    ///
    /// # Panics
    /// After two minutes.
    pub async fn until_asked(&self, exports: &[Uuid], times: usize) {
        let began = Instant::now();
        while !exports.iter().all(|export| self.asked(*export) >= times) {
            let missing = exports.iter().filter(|export| self.asked(**export) < times).count();
            assert!(began.elapsed() < crate::app::PATIENCE, "{missing} exports were never asked for {times} times");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(State(noted): State<Arc<Noted>>, Path(id): Path<Uuid>) -> (StatusCode, [(HeaderName, String); 1]) {
    noted.asks().entry(id).or_default().push(Instant::now());
    (StatusCode::ACCEPTED, [(header::RETRY_AFTER, noted.retry_after.as_secs().to_string())])
}
