//! The whole path, from a kick-off to rows.

use bulkhead_tests::{App, SandboxConfig, Setup};

use crate::setup;

#[tokio::test(flavor = "multi_thread")]
async fn exports_a_group_from_an_open_server_into_rows() {
    let app = App::start(setup()).await;
    let job = app.export("BMCHealthNet").await;
    let status = app.until(job, "completed").await;
    assert!(status["error"].is_null(), "{status:#}");
    app.assert_rows_right(job, "BMCHealthNet").await;
    app.assert_nothing_left().await;
    let stats = app.sandbox.stats();
    assert_eq!((stats.kick_offs, stats.deletes), (1, 1), "asked once, released once");
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_a_group_with_smart_authentication() {
    let setup = Setup { sandbox: SandboxConfig { auth: true, ..setup().sandbox }, workers: 2, ..setup() };
    let app = App::start(setup).await;
    let jobs = [app.export("BMCHealthNet").await, app.export("TuftsHealthPlan").await];
    for (job, group) in jobs.into_iter().zip(["BMCHealthNet", "TuftsHealthPlan"]) {
        app.until(job, "completed").await;
        app.assert_rows_right(job, group).await;
    }
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().tokens_issued, 1, "one token for two exports and two workers");
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_with_a_download_whose_worker_was_killed() {
    let mut app = App::start(setup()).await;
    app.sandbox.fault("file:hold=half@Observation");
    let job = app.export("BlueCrossBlueShield").await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.workers[0].kill();
    app.sandbox.release();
    app.add_worker();
    app.until(job, "completed").await;
    app.assert_rows_right(job, "BlueCrossBlueShield").await;
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 1);
}
