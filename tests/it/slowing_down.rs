//! A server that bears fewer downloads at once than we would like.

use std::time::Duration;

use bulkhead_shared::{db::sources, domain::stage::Lane, queue::claim_best};
use bulkhead_tests::{App, SandboxConfig, Setup};
use futures::future::join_all;
use uuid::Uuid;

use crate::setup;

const GROUP: &str = "BMCHealthNet";

/// A worker that would download sixteen files at once, and a server with many files.
async fn start() -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, resources_per_file: 10, ..setup().sandbox };
    let settings = vec![("WORKER_TRANSFERS", "16".to_owned()), ("RETRY_MAX_ATTEMPTS", "1".to_owned())];
    App::start(Setup { sandbox, settings, ..setup() }).await
}

/// An export with one refused file that has ended well.
async fn refused_once(app: &App, fault: &str) -> Uuid {
    app.sandbox.fault(fault);
    let job = app.export_of("FallonHealth", &["Patient"]).await;
    app.until(job, "completed").await;
    job
}

/// The source, and how many downloads it may have at once.
async fn source(app: &App) -> (Uuid, i32) {
    sqlx::query_as("SELECT id, parallel FROM bulkhead.sources").fetch_one(&app.pool).await.expect("one source")
}

/// As if the limit was changed so long ago.
async fn changed_ago(app: &App, interval: &str) {
    sqlx::query("UPDATE bulkhead.sources SET parallel_changed_at = clock_timestamp() - $1::interval")
        .bind(interval)
        .execute(&app.pool)
        .await
        .expect("the past");
}

/// What the story of an export says of the limit.
async fn told(app: &App, job: Uuid) -> Vec<String> {
    sqlx::query_scalar("SELECT message FROM bulkhead.export_events WHERE export_id = $1 AND message LIKE '%at once%' ORDER BY id")
        .bind(job)
        .fetch_all(&app.pool)
        .await
        .expect("a story")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_to_slow_down_gets_half_as_many_downloads_and_slowly_more_again() {
    let app = start().await;
    let job = refused_once(&app, "file:status=429;retry-after=1").await;
    assert_eq!(told(&app, job).await, ["The server asks to slow down: 3 downloads at once from now on."]);
    assert_eq!(source(&app).await.1, 3);

    // For as long as nothing may change, the limit is what it is: neither more downloads at once nor fewer.
    changed_ago(&app, "-1 hour").await;
    app.sandbox.fault("file:slow=20000*always");
    let before = app.sandbox.stats().files_finished;
    let job = app.export_of(GROUP, &["Observation"]).await;
    app.until(job, "completed").await;
    let stats = app.sandbox.stats();
    assert!(stats.files_finished - before > 10, "too few files to show anything: {stats:#?}");
    assert_eq!(stats.most_files_at_once, 3);
    app.assert_rows_of(job, GROUP, &["Observation"]).await;
    assert!(told(&app, job).await.is_empty());

    // Ten seconds later a file that goes well raises it, once.
    changed_ago(&app, "11 seconds").await;
    let job = app.export_of("FallonHealth", &["Patient", "Condition", "Encounter"]).await;
    app.until(job, "completed").await;
    assert_eq!(told(&app, job).await, ["The server bears it well: 4 downloads at once from now on."]);
    assert_eq!(source(&app).await.1, 4);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_unavailable_for_a_while_is_slowed_down_as_well() {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, ..setup().sandbox };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let job = refused_once(&app, "file:status=503;retry-after=1").await;
    assert_eq!(told(&app, job).await, ["The server asks to slow down: 3 downloads at once from now on."]);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_wants_to_be_left_alone_no_file_is_asked_for() {
    let app = start().await;
    refused_once(&app, "file:status=429;retry-after=1").await;
    let asked = app.sandbox.stats().files_started;
    sqlx::query("UPDATE bulkhead.sources SET paused_until = clock_timestamp() + interval '1 hour'")
        .execute(&app.pool)
        .await
        .expect("a pause");
    let job = app.export_of(GROUP, &["Patient", "Condition"]).await;
    app.until_sql("SELECT count(*) > 1 FROM bulkhead.stages WHERE export_id = $1 AND kind = 'download'", job).await;
    // Whoever looks for work finds none there, and it costs no attempt.
    let worker: Uuid =
        sqlx::query_scalar("SELECT id FROM bulkhead.workers WHERE ended_at IS NULL").fetch_one(&app.pool).await.expect("a worker");
    assert!(claim_best(&app.pool, worker, Lane::Transfer).await.expect("the queue").is_none());
    let untouched = format!(
        "SELECT bool_and(state = 'ready' AND runs = 0 AND attempt = 0) FROM bulkhead.stages WHERE export_id = '{job}' AND kind = 'download'"
    );
    assert!(app.is(&untouched).await, "{}", app.logs());
    assert_eq!(app.sandbox.stats().files_started, asked);
    app.sql("UPDATE bulkhead.sources SET paused_until = 'epoch'").await;
    let began = std::time::Instant::now();
    app.until(job, "completed").await;
    assert!(began.elapsed() < Duration::from_secs(45), "it waited for its tickets to be issued again");
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_changes_at_most_once_at_a_time_and_stays_in_its_bounds() {
    let app = start().await;
    app.until(app.export_of("FallonHealth", &["Patient"]).await, "completed").await;
    let (id, parallel) = source(&app).await;
    assert_eq!(parallel, 6);
    let slow_down = || sources::slow_down(&app.pool, id, Duration::ZERO);
    let speed_up = || sources::speed_up(&app.pool, id);

    let changes = join_all((0..20).map(|_| slow_down())).await;
    let changes: Vec<i32> = changes.into_iter().filter_map(|change| change.expect("an answer")).collect();
    assert_eq!(changes, [3], "twenty refusals at once are one");
    for (ago, wanted) in [("0 seconds", None), ("1.1 seconds", Some(1)), ("1.1 seconds", None)] {
        changed_ago(&app, ago).await;
        assert_eq!(slow_down().await.expect("an answer"), wanted);
    }
    assert_eq!(source(&app).await.1, 1, "one download is always allowed");

    // It halves nothing within a second of a change; how long the server wants to be left alone counts all the same.
    assert_eq!(sources::slow_down(&app.pool, id, Duration::from_secs(300)).await.expect("an answer"), None);
    assert!(app.is("SELECT paused_until > clock_timestamp() + interval '290 s' FROM bulkhead.sources").await);

    assert_eq!(speed_up().await.expect("an answer"), None, "a refusal counts, although it changed nothing");
    changed_ago(&app, "11 seconds").await;
    let changes = join_all((0..20).map(|_| speed_up())).await;
    let changes: Vec<i32> = changes.into_iter().filter_map(|change| change.expect("an answer")).collect();
    assert_eq!(changes, [2], "twenty files that go well are one step");
    for wanted in [Some(3), Some(4), Some(5), Some(6), None] {
        changed_ago(&app, "11 seconds").await;
        assert_eq!(speed_up().await.expect("an answer"), wanted);
    }
    sqlx::query("UPDATE bulkhead.sources SET max_parallel = 2").execute(&app.pool).await.expect("an operator's change");
    assert_eq!(source(&app).await.1, 2);
    app.assert_nothing_left().await;
}
