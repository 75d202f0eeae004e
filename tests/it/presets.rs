//! Servers one meets in the field, as the sandbox plays them from public reports: each gives a complete export.

use std::time::{Duration, Instant};

use bulkhead_sandbox::Preset;
use bulkhead_tests::{App, SandboxConfig, Setup};
use serde_json::json;

use crate::{loading::findings, setup};

const GROUP: &str = "FallonHealth";

async fn start(preset: Preset, pace: f64) -> App {
    let sandbox = SandboxConfig { preset: Some(preset), pace, auth: true, ..setup().sandbox };
    App::start(Setup { sandbox, workers: 2, settings: vec![("RETRY_BASE_DELAY", "0.1".to_owned())], ..setup() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_of_the_field_gives_a_complete_export() {
    for preset in Preset::ALL {
        let began = Instant::now();
        let app = start(preset, 0.0004).await;
        let job = app.export(GROUP).await;
        let status = app.until(job, "completed").await;
        if preset == Preset::Hapi {
            // Its files repeat resources, newer and changed.
            assert!(findings(&status).iter().all(|(kind, severity)| kind == "duplicates" && severity == "warning"), "{status:#}");
            let rows = status["records_loaded"].as_u64().expect("a count");
            assert_eq!(rows, app.sandbox.expected(Some(GROUP)).values().sum::<u64>());
        } else {
            assert_eq!(status["findings"], json!([]), "{preset:?}");
            app.assert_rows_right(job, GROUP).await;
        }
        let stats = app.sandbox.stats();
        println!("{:>15}: completed in {:.1} s, faults met: {}", preset.as_str(), began.elapsed().as_secs_f64(), stats.faults);
        assert_eq!(stats.tokens_leaked, 0, "{preset:?}");
        app.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn epic_s_second_export_of_a_group_waits_for_the_next_day() {
    // Its day is 8.6 s here.
    let app = start(Preset::Epic, 0.0001).await;
    app.until(app.export_of(GROUP, &["Patient"]).await, "completed").await;
    let second = app.export_of(GROUP, &["Condition"]).await;
    app.until_sql("SELECT count(*) = 1 FROM bulkhead.cool_downs WHERE words LIKE '%too recently%' AND $1::uuid IS NOT NULL", second).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    // Its own clock is a day; the operator knows that this one's is over.
    app.sql("DELETE FROM bulkhead.cool_downs").await;
    app.sql("UPDATE bulkhead.stages SET next_run_at = now() WHERE kind = 'kick_off' AND state = 'ready'").await;
    app.until(second, "completed").await;
    app.assert_rows_of(second, GROUP, &["Condition"]).await;
}
