//! Exports of very many small files, as Oracle's are.

use std::time::{Duration, Instant};

use bulkhead_tests::{App, SandboxConfig, Setup};
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "BlueCrossBlueShield";

/// How many files are here.
async fn here(app: &App, job: Uuid) -> (i64, i64) {
    sqlx::query_as("SELECT count(*) FILTER (WHERE state = 'downloaded'), count(*) FROM bulkhead.export_files WHERE export_id = $1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("a count")
}

/// All workers die when so much of the export is here; others end it. No file that was here is downloaded again.
async fn killed_in_the_middle(scale: f64, at_least: i64, patience: Duration) {
    let sandbox = SandboxConfig { resources_per_file: 1, scale, export_time: Duration::ZERO, ..setup().sandbox };
    let mut app = App::start(Setup { sandbox, workers: 2, ..setup() }).await;
    let began = Instant::now();
    let job = app.export(GROUP).await;
    let (before, all) = loop {
        let (here, all) = here(&app, job).await;
        if all > 0 && here * 2 >= all {
            break (here, all);
        }
        assert!(began.elapsed() < patience, "{here} of {all} files\n{}", app.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(all >= at_least, "only {all} files");
    app.workers.iter_mut().for_each(bulkhead_tests::Worker::kill);
    let killed = Instant::now();
    app.add_worker();
    app.add_worker();
    while app.status(job).await["status"] != "completed" {
        assert!(began.elapsed() < patience, "it does not end: {:#}\n{}", app.status(job).await["progress"], app.logs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let asked = i64::try_from(app.sandbox.stats().files_started).expect("a count");
    println!(
        "{all} files, killed at {before}: completed {:.1} s after that, {:.1} s in all; {} asked for twice",
        killed.elapsed().as_secs_f64(),
        began.elapsed().as_secs_f64(),
        asked - all
    );
    // Those that were under way when the workers died.
    assert!(asked - all <= 20, "{} of {all} files were downloaded again", asked - all);
    app.assert_rows_right(job, GROUP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_many_files_killed_in_the_middle_ends_complete() {
    killed_in_the_middle(0.1, 1_000, Duration::from_secs(120)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: cargo test --release -p bulkhead-tests --test it -- --ignored --nocapture twenty_thousand"]
async fn an_export_of_twenty_thousand_files_killed_in_the_middle_ends_complete() {
    killed_in_the_middle(2.0, 20_000, Duration::from_secs(1800)).await;
}
