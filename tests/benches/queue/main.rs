//! The queue: how many stages a second, how soon one starts, how punctual 10,000 waiting exports are, and what a million finished stages
//! change. `cargo bench -p bulkhead-tests --bench queue`; durable Postgres, real worker processes.

mod flat;
mod polls;
mod runs;

use bulkhead_tests::{
    Worker,
    app::secret_key,
    bench::{Bench, Durable},
};

#[tokio::main]
async fn main() {
    let bench = Bench::start("The queue");
    runs::measure(&bench).await;
    polls::measure(&bench).await;
    flat::measure(&bench).await;
}

/// A worker process on this database.
fn worker(durable: &Durable, n: usize) -> Worker {
    let blobs = durable.folder.path().join("blobs");
    std::fs::create_dir_all(&blobs).expect("a folder");
    let settings = [
        ("DATABASE_URL", durable.url.clone()),
        ("BULKHEAD_SECRET_KEY", secret_key()),
        ("BULK_DATA_DIR", blobs.display().to_string()),
        ("LOG_LEVEL", "warn".to_owned()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    Worker::start(env!("CARGO_BIN_EXE_bulkhead-test-worker"), &settings, durable.folder.path().join(format!("worker-{n}.log")))
}
