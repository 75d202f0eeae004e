use bulkhead_tests::{App, Setup, app::client};
use reqwest::Method;
use uuid::Uuid;

use super::{
    data_of,
    page::{pages, read},
    plain, rows,
};
use crate::setup;

const GROUP: &str = "HealthNewEngland";

async fn summaries(app: &App, job: Uuid) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM bulkhead.summaries WHERE export_id = $1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("a table")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_export_is_summed_up_as_it_is_and_again_after_its_retry() {
    let app = App::start(setup()).await;
    app.sandbox.fault("file:malformed-line@Condition");
    let job = app.export(GROUP).await;
    app.until(job, "failed").await;
    let partial = data_of(&app, job, "top=all").await;
    let short = plain::coded(&app.pool, job, &[], "conditions").await;
    let coded = |data: &serde_json::Value| -> Vec<Vec<String>> {
        rows(data, "conditions").into_iter().map(|row| vec![row[0].clone(), row[2].clone(), row[3].clone()]).collect()
    };
    assert_eq!(coded(&partial), short);

    let (status, _) = app.operate(job, "retry").await;
    assert_eq!(status, 200);
    app.until(job, "completed").await;
    let whole = data_of(&app, job, "top=all").await;
    let full = plain::coded(&app.pool, job, &[], "conditions").await;
    assert_eq!(coded(&whole), full, "the gap is closed, and the numbers know");
    assert_ne!(short, full, "the retry brought something: else this shows nothing");
    assert_eq!(summaries(&app, job).await, 1, "the earlier summary is gone");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_under_way_says_what_is_loaded_and_no_old_numbers() {
    let app = App::start(setup()).await;
    app.sandbox.fault("file:hold=half@Observation");
    let job = app.export(GROUP).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    app.until_sql("SELECT bool_or(state = 'loaded') FROM bulkhead.file_parts WHERE export_id = $1", job).await;
    let (status, answer) = app.request(Method::GET, &format!("/api/bulk-data/data?etl_job_id={job}"), None, &[]).await;
    assert_eq!((status, &answer["jobs"][0]["standing"]), (200, &"loading".into()));
    assert!(answer["jobs"][0]["loaded_so_far"].as_array().is_some_and(|loaded| !loaded.is_empty()), "{answer:#}");
    assert!(rows(&answer, "resources").is_empty(), "nothing that is not whole");
    app.sandbox.release();
    app.until(job, "completed").await;
    assert_eq!(rows(&data_of(&app, job, "").await, "resources"), plain::resources(&app.pool, job, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_before_is_summed_up_when_it_is_first_looked_at() {
    let app = App::start(setup()).await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    app.until_sql("SELECT count(*) = 1 FROM bulkhead.summaries WHERE export_id = $1", job).await;
    app.assert_nothing_left().await;
    app.sql("DELETE FROM bulkhead.summaries; DELETE FROM bulkhead.stages WHERE kind = 'summarise'").await;
    let (_, answer) = app.request(Method::GET, &format!("/api/bulk-data/data?etl_job_id={job}"), None, &[]).await;
    assert_eq!(answer["jobs"][0]["standing"], "pending", "{answer:#}");
    assert_eq!(rows(&data_of(&app, job, "").await, "resources"), plain::resources(&app.pool, job, &[]).await);
    let runs: i64 =
        sqlx::query_scalar("SELECT count(*) FROM bulkhead.stages WHERE kind = 'summarise'").fetch_one(&app.pool).await.expect("it");
    assert_eq!(runs, 1, "once, however often somebody looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_export_has_no_numbers() {
    let app = App::start(setup()).await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    let (status, _) = app.request(Method::DELETE, &format!("/api/bulk-data/jobs/{job}"), None, &[]).await;
    assert_eq!(status, 202);
    let (status, _) = app.request(Method::GET, &format!("/api/bulk-data/data?etl_job_id={job}"), None, &[]).await;
    assert_eq!(status, 404, "not even while it is being deleted");
    app.until_sql("SELECT NOT EXISTS (SELECT FROM bulkhead.exports WHERE id = $1)", job).await;
    let left: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM bulkhead.summaries) + (SELECT count(*) FROM bulkhead.summary_columns)")
            .fetch_one(&app.pool)
            .await
            .expect("tables");
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_cannot_be_made_says_so_never_fails_its_export_and_can_be_asked_for_again() {
    let settings = vec![("RETRY_MAX_ATTEMPTS", "1".to_owned())];
    let app = App::start(Setup { settings, ..setup() }).await;
    app.sql("ALTER TABLE bulkhead.summary_columns RENAME TO away").await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    app.until_sql("SELECT bool_or(state = 'dead') FROM bulkhead.stages WHERE export_id = $1 AND kind = 'summarise'", job).await;
    app.until(job, "completed").await;
    app.sql("ALTER TABLE bulkhead.away RENAME TO summary_columns").await;
    let base = pages(&app).await;
    let address = format!("/data?etl_job_id={job}");
    for _ in 0..2 {
        let (_, answer) = app.request(Method::GET, &format!("/api/bulk-data{address}"), None, &[]).await;
        assert_eq!(answer["jobs"][0]["standing"], "given-up", "looking does not try again: {answer:#}");
        assert!(rows(&answer, "totals").is_empty(), "no zero where nothing is known");
    }
    let (html, _) = read(&base, &address, "en").await;
    let action = format!("/data/{job}/sum-up");
    assert!(html.contains("could not be summed up") && html.contains(&format!("action=\"{action}\"")), "it says what to do");
    let answer = client().post(format!("{base}{action}")).send().await.expect("an answer");
    assert_eq!(answer.url().path(), "/data", "back to the page");
    assert_eq!(rows(&data_of(&app, job, "").await, "resources"), plain::resources(&app.pool, job, &[]).await);
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_incomplete_export_says_that_its_numbers_are_not_everything() {
    let app = App::start(setup()).await;
    app.sandbox.fault("file:malformed-line@Condition");
    let job = app.export(GROUP).await;
    app.until(job, "failed").await;
    data_of(&app, job, "").await;
    let base = pages(&app).await;
    let (html, _) = read(&base, &format!("/data?etl_job_id={job}"), "en").await;
    assert!(html.contains(": incomplete") && html.contains(&format!("/exports/{job}")), "it says so, and where to read why");
    let (_, answer) = app.operate(job, "accept").await;
    assert_eq!(answer["status"], "loading", "{answer}");
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    let (html, _) = read(&base, &format!("/data?etl_job_id={job}"), "en").await;
    assert!(!html.contains(": incomplete"), "it was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_not_summed_up_while_a_load_of_it_still_runs() {
    let app = App::start(setup()).await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    app.assert_nothing_left().await;
    // As if a load that had begun before the end were still at work.
    app.sql(&format!(
        "UPDATE bulkhead.stages SET state = 'running', claim_id = gen_random_uuid(), worker_id = (SELECT id FROM bulkhead.workers LIMIT 1)
          WHERE id = (SELECT id FROM bulkhead.stages WHERE export_id = '{job}' AND kind = 'load' LIMIT 1);
         DELETE FROM bulkhead.summaries"
    ))
    .await;
    let (_, answer) = app.request(Method::GET, &format!("/api/bulk-data/data?etl_job_id={job}"), None, &[]).await;
    assert_eq!(answer["jobs"][0]["standing"], "pending");
    app.until_sql("SELECT bool_or(runs > 0 AND state = 'done') FROM bulkhead.stages WHERE export_id = $1 AND kind = 'summarise'", job)
        .await;
    data_of(&app, job, "").await;
    let loads: i64 =
        sqlx::query_scalar("SELECT count(*) FROM bulkhead.stages WHERE export_id = $1 AND kind = 'load' AND state = 'running'")
            .bind(job)
            .fetch_one(&app.pool)
            .await
            .expect("a count");
    assert_eq!(loads, 0, "it waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_do_not_fit_beside_the_others_are_counted_and_an_old_export_with_rows_is_still_offered() {
    let app = App::start(setup()).await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    app.sql(&format!(
        "INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as, state, manifest_pages, manifest_complete, finished_at)
         SELECT gen_random_uuid(), source_id, 'group', 'Group ' || n, '', 'completed', 1, true, clock_timestamp()
           FROM bulkhead.exports, generate_series(1, 60) n WHERE id = '{job}'"
    ))
    .await;
    let base = pages(&app).await;
    let (html, _) = read(&base, "/data?latest=groups", "en").await;
    assert!(html.contains("The latest exports of 41 more Groups are not shown"), "twenty of 61 are");
    let (pick, _) = read(&base, "/data", "en").await;
    assert!(pick.contains(&format!("value=\"{job}\"")), "sixty newer ones without rows do not hide it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_load_commits_while_rows_are_read_is_not_missed() {
    let app = App::start(setup()).await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    app.assert_nothing_left().await;
    // A load that had begun before the end is at work, and whoever reads comes no further than the last table.
    let mut held = app.pool.begin().await.expect("a transaction");
    for sql in ["SET LOCAL idle_in_transaction_session_timeout = 0", "LOCK TABLE fhir.other_resources IN ACCESS EXCLUSIVE MODE"] {
        sqlx::query(sql).execute(&mut *held).await.expect("a lock");
    }
    app.sql(&format!(
        "UPDATE bulkhead.stages SET state = 'running', claim_id = gen_random_uuid(), worker_id = (SELECT id FROM bulkhead.workers LIMIT 1)
          WHERE id = (SELECT id FROM bulkhead.stages WHERE export_id = '{job}' AND kind = 'load' LIMIT 1);
         DELETE FROM bulkhead.summaries"
    ))
    .await;
    app.request(Method::GET, &format!("/api/bulk-data/data?etl_job_id={job}"), None, &[]).await;
    app.until_sql("SELECT bool_or(runs > 0 OR state = 'running') FROM bulkhead.stages WHERE export_id = $1 AND kind = 'summarise' AND state <> 'done'", job)
        .await;
    app.sql(&format!(
        "INSERT INTO conditions (etl_job_id, id, part_id, resource)
         SELECT '{job}', 'late', max(part_id), '{{\"resourceType\": \"Condition\", \"id\": \"late\"}}' FROM conditions;
         UPDATE bulkhead.stages SET state = 'done', claim_id = NULL, worker_id = NULL WHERE export_id = '{job}' AND kind = 'load' AND state = 'running'"
    ))
    .await;
    held.rollback().await.expect("the lock is gone");
    assert_eq!(rows(&data_of(&app, job, "").await, "resources"), plain::resources(&app.pool, job, &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_would_lack_an_export_is_not_given() {
    let app = App::start(setup()).await;
    app.sandbox.fault("file:hold=half@Observation");
    let job = app.export(GROUP).await;
    app.sandbox.wait_until(|stats| stats.held == 1).await;
    let address = format!("{}/api/bulk-data/data/conditions?etl_job_id={job}&format=csv", app.api);
    let ask = async || client().get(&address).send().await.expect("an answer");
    let answer = ask().await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert!(answer.text().await.expect("a problem").contains(&job.to_string()), "it says which");
    app.sandbox.release();
    app.until(job, "completed").await;
    data_of(&app, job, "").await;
    assert_eq!(ask().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_of_a_group_is_a_whole_export_where_there_is_one_and_what_it_lacks_is_said() {
    let app = App::start(setup()).await;
    let whole = app.export(GROUP).await;
    app.until(whole, "completed").await;
    let mut body = app.body_of(GROUP, &["Patient", "Condition"]);
    body["since"] = "2000-01-01T00:00:00Z".into();
    let part = app.submit(&body).await;
    app.until(part, "completed").await;
    let (_, latest) = app.request(Method::GET, "/api/bulk-data/data?latest=groups", None, &[]).await;
    let jobs = latest["jobs"].as_array().expect("jobs");
    assert_eq!(jobs.iter().map(|job| job["job_id"].clone()).collect::<Vec<_>>(), [serde_json::json!(whole)]);

    let base = pages(&app).await;
    data_of(&app, part, "").await;
    let (html, _) = read(&base, &format!("/data?etl_job_id={part}"), "en").await;
    assert!(html.contains("only Patient, Condition") && html.contains("only what changed since 2000-01-01T00:00:00Z"), "{html}");
    let (html, _) = read(&base, &format!("/data?etl_job_id={whole}"), "en").await;
    assert!(!html.contains("class=\"limit\""), "a whole one says nothing");
}
