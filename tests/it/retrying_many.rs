//! All failed exports that match are retried at once: counted first, filtered by name, never the same question twice.

use std::{collections::BTreeSet, time::Duration};

use bulkhead_tests::{App, SandboxConfig, Setup};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::setup;

const RETRY: &str = "/api/bulk-data/retry";
const GROUPS: [&str; 3] = ["FallonHealth", "MinutemanHealth", "TuftsHealthPlan"];

async fn start(workers: usize) -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, ..setup().sandbox };
    App::start(Setup { sandbox, workers, settings: vec![("RETRY_MAX_ATTEMPTS", "2".to_owned())], ..setup() }).await
}

async fn retry(app: &App, body: &Value) -> Value {
    let (code, answer) = app.request(Method::POST, RETRY, Some(body), &[]).await;
    assert_eq!(code, 200, "{body}: {answer:#}");
    answer
}

async fn refused(app: &App, body: &Value) -> (String, String) {
    let (code, problem) = app.request(Method::POST, RETRY, Some(body), &[]).await;
    assert_eq!(code, 400, "{body}: {problem:#}");
    (problem["type"].as_str().expect("a type").to_owned(), problem["detail"].as_str().expect("a detail").to_owned())
}

fn ids(list: &Value) -> BTreeSet<Uuid> {
    list.as_array().expect("a list").iter().map(|job| job["job_id"].as_str().expect("an id").parse().expect("a UUID")).collect()
}

fn counts(answer: &Value) -> [i64; 3] {
    ["matched", "retried", "not_retried"].map(|name| answer[name].as_i64().expect("a number"))
}

/// Failed exports that no server has to be asked for: of other Groups, or all of the same question.
async fn failed(app: &App, n: usize, reason: &str, same: bool) -> Vec<Uuid> {
    let sql = format!(
        "INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES (gen_random_uuid(), 'test', 'http://127.0.0.1:9/fhir', 'open') ON CONFLICT DO NOTHING;
         WITH export AS (
             INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as, state, finished_at, failed_from, failure_stage, failure_reason,
                                           failure_detail, failure_remedy)
             SELECT gen_random_uuid(), (SELECT id FROM bulkhead.sources WHERE identity = 'test'), 'group', 'g' || n,
                    CASE WHEN {same} THEN '\\x00'::bytea ELSE sha256(('{reason}' || n)::bytea) END,
                    'failed', '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute', 'queued', 'auth', '{reason}', 'It failed.', 'retry it'
               FROM generate_series(1, {n}) n RETURNING id, source_id)
         INSERT INTO bulkhead.stages (id, export_id, source_id, kind, lane, state, attempt, max_attempts)
         SELECT gen_random_uuid(), id, source_id, 'auth', 'control', 'dead', 2, 2 FROM export"
    );
    app.sql(&sql).await;
    let sql = format!("SELECT id FROM bulkhead.exports WHERE failure_reason = '{reason}' ORDER BY finished_at DESC");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&app.pool).await.expect("exports")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_for_one_reason_is_counted_then_retried_and_ends_complete() {
    let app = start(1).await;
    app.sandbox.fault("kick-off:status=403");
    let other = app.export_of("HealthNewEngland", &["Patient"]).await;
    app.until(other, "failed").await;
    let mut jobs = BTreeSet::new();
    for group in GROUPS {
        app.sandbox.fault("file:malformed-line*always");
        let job = app.export_of(group, &["Patient"]).await;
        app.until(job, "failed").await;
        jobs.insert(job);
    }
    app.sandbox.clear_faults();

    let dry = retry(&app, &json!({"reason": "incomplete", "dry_run": true})).await;
    assert_eq!((counts(&dry), &dry["dry_run"], ids(&dry["jobs"])), ([3, 3, 0], &json!(true), jobs.clone()), "{dry:#}");
    for job in &jobs {
        assert_eq!(app.status(*job).await["status"], "failed", "a dry run changes nothing");
    }
    let (_, list) = app.request(Method::GET, "/api/bulk-data/jobs?reason=incomplete&limit=2", None, &[]).await;
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(2), "{list:#}");
    assert!(list["next"].as_str().is_some_and(|next| next.contains("reason=incomplete")), "{list:#}");
    assert!(ids(&list["jobs"]).is_subset(&jobs));

    let done = retry(&app, &json!({"reason": "incomplete"})).await;
    assert_eq!((counts(&done), &done["dry_run"], &done["more"]), ([3, 3, 0], &json!(false), &json!(false)), "{done:#}");
    assert_eq!(ids(&done["jobs"]), jobs);
    for (job, group) in done["jobs"].as_array().expect("jobs").iter().zip(GROUPS.iter().rev()) {
        assert_eq!((&job["group_id"], &job["reason"]), (&json!(group), &json!("incomplete")), "the last that failed comes first");
        let id = job["job_id"].as_str().and_then(|id| id.parse().ok()).expect("a UUID");
        app.until(id, "completed").await;
        app.assert_rows_of(id, group, &["Patient"]).await;
    }
    assert_eq!(app.status(other).await["status"], "failed", "it failed for another reason");
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_narrows_and_a_bad_one_is_refused_by_name() {
    let app = start(0).await;
    let unreachable = failed(&app, 5, "unreachable", false).await;
    let expired = failed(&app, 2, "expired", false).await;
    let dry = async |body: Value| {
        let mut body = body;
        body["dry_run"] = json!(true);
        ids(&retry(&app, &body).await["jobs"])
    };
    let set = |ids: &[Uuid]| ids.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(dry(json!({"reason": "unreachable"})).await, set(&unreachable));
    assert_eq!(dry(json!({"group": "g5"})).await, set(&unreachable[..1]));
    assert_eq!(dry(json!({"group": "g1"})).await, set(&[unreachable[4], expired[1]]));
    assert_eq!(dry(json!({"source": "http://127.0.0.1:9/fhir/", "status": "failed"})).await.len(), 7);
    assert_eq!(dry(json!({"source": "http://127.0.0.1:9/other"})).await.len(), 0);
    assert_eq!(dry(json!({"since": "2026-01-01T00:04:00Z"})).await, set(&unreachable[..2]));
    assert_eq!(dry(json!({"until": "2026-01-01T01:01:00+01:00"})).await, set(&[unreachable[4], expired[1]]));
    assert_eq!(dry(json!({"reason": "expired", "since": "2026-01-01", "until": "2026-01-01T00:01:30Z"})).await, set(&expired[1..]));
    assert_eq!(dry(json!({"since": "2026-01-02"})).await.len(), 0);
    assert_eq!(dry(json!({"all": true})).await.len(), 7);

    for (body, kind, words) in [
        (json!({}), "invalid-request", "No filter"),
        (json!({"dry_run": true}), "invalid-request", "\"all\": true"),
        (json!({"all": false}), "invalid-request", "No filter"),
        (json!({"all": true, "group": "g1"}), "invalid-request", "all is given together with a filter"),
        (json!({"reason": "unreachabel"}), "invalid-request", "reason must be one of credentials,"),
        (json!({"reson": "unreachable"}), "unknown-field", "\"reson\""),
        (json!({"status": "completed", "group": "g1"}), "invalid-request", "status must be failed"),
        (json!({"since": "yesterday"}), "invalid-request", "since must be a moment"),
        (json!({"until": ""}), "invalid-request", "until must be a moment"),
        (json!({"since": "2026-02-01", "until": "2026-01-01"}), "invalid-request", "since is later than until"),
        (json!({"group": "g1", "dry_run": "yes"}), "invalid-request", "dry_run must be true or false"),
    ] {
        let (told_kind, told) = refused(&app, &body).await;
        assert_eq!(told_kind, format!("/problems/{kind}"), "{body}: {told}");
        assert!(told.contains(words), "{body}: {told}");
    }
    let (code, problem) = app.request(Method::GET, "/api/bulk-data/jobs?reason=unreachabel", None, &[]).await;
    assert_eq!(code, 400);
    assert!(problem["detail"].as_str().is_some_and(|told| told.contains("reason must be one of")), "{problem}");
    assert!(app.is("SELECT bool_and(state = 'failed') FROM bulkhead.exports").await, "nothing was retried");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_exports_that_ask_the_same_only_one_is_retried() {
    let app = start(0).await;
    let same = failed(&app, 3, "unreachable", true).await;
    let check = |answer: &Value, words: &str| {
        assert_eq!(counts(answer), [3, 1, 2], "{answer:#}");
        assert_eq!(ids(&answer["jobs"]), BTreeSet::from([same[0]]), "the last that failed: {answer:#}");
        for refused in answer["refused"].as_array().expect("a list") {
            let why = refused["why"].as_str().expect("a reason");
            assert!(why.contains(&same[0].to_string()) && why.contains(words), "{answer:#}");
        }
        assert_eq!(ids(&answer["refused"]), same[1..].iter().copied().collect());
    };
    check(&retry(&app, &json!({"all": true, "dry_run": true})).await, "failed later");
    check(&retry(&app, &json!({"all": true})).await, "is running");
    let again = retry(&app, &json!({"all": true})).await;
    assert_eq!(counts(&again), [2, 0, 2], "one runs: {again:#}");
    let dry = retry(&app, &json!({"all": true, "dry_run": true})).await;
    assert_eq!(counts(&dry), [2, 0, 2], "{dry:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_retried_in_bounded_transactions_and_only_some_are_listed() {
    let app = start(0).await;
    let all = failed(&app, 260, "unreachable", false).await;
    // Which transaction retried which.
    app.sql(
        "CREATE TABLE public.retried (id uuid PRIMARY KEY, tx xid8 NOT NULL DEFAULT pg_current_xact_id());
         CREATE FUNCTION public.retried() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.retried (id) VALUES (NEW.id); RETURN NULL; END $$;
         CREATE TRIGGER retried AFTER UPDATE ON bulkhead.exports FOR EACH ROW
             WHEN (OLD.state = 'failed' AND NEW.state = 'queued') EXECUTE FUNCTION public.retried()",
    )
    .await;
    // Somebody holds one of them: it is told, and nobody waits.
    let mut holder = app.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM bulkhead.exports WHERE id = $1 FOR UPDATE").bind(all[7]).execute(&mut *holder).await.expect("a lock");
    let dry = retry(&app, &json!({"reason": "unreachable", "dry_run": true})).await;
    assert_eq!((counts(&dry), dry["jobs"].as_array().map(Vec::len)), ([260, 260, 0], Some(100)));
    let done = retry(&app, &json!({"reason": "unreachable"})).await;
    assert_eq!((counts(&done), done["jobs"].as_array().map(Vec::len)), ([260, 259, 1], Some(100)));
    assert_eq!(ids(&done["refused"]), BTreeSet::from([all[7]]));
    assert!(done["refused"][0]["why"].as_str().is_some_and(|why| why.contains("changing it at this moment")), "{done:#}");
    holder.rollback().await.expect("the lock is given back");
    let largest: i64 = sqlx::query_scalar("SELECT max(n) FROM (SELECT count(*) AS n FROM public.retried GROUP BY tx::text) x")
        .fetch_one(&app.pool)
        .await
        .expect("a count");
    assert!(largest <= 50, "{largest} exports in one transaction");
    assert!(app.is("SELECT count(*) = 259 FROM bulkhead.stages WHERE state = 'ready' AND attempt = 0 AND ticketed_at IS NULL").await);
    assert_eq!(counts(&retry(&app, &json!({"reason": "unreachable"})).await), [1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_retry_all_that_match_in_psql() {
    let app = start(0).await;
    let all = failed(&app, 4, "unreachable", false).await;
    let call = async |arguments: &str| -> sqlx::Result<Vec<(Uuid, String, Option<String>)>> {
        let sql = format!("SELECT etl_job_id, outcome, why FROM retry_failed({arguments})");
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&app.pool).await
    };
    let outcomes = |rows: Vec<(Uuid, String, Option<String>)>| rows.into_iter().map(|(id, outcome, _)| (id, outcome)).collect::<Vec<_>>();
    let of = |ids: &[Uuid], outcome: &str| ids.iter().map(|id| (*id, outcome.to_owned())).collect::<Vec<_>>();
    let rows = call("reason => 'unreachable', dry_run => true").await.expect("rows");
    assert_eq!(outcomes(rows), of(&all, "would be retried"));
    let rows = call("reason => 'unreachable', most => 1").await.expect("rows");
    assert_eq!(outcomes(rows), of(&all[..1], "retried"));
    let rows = call("group_id => 'g1', source => 'http://127.0.0.1:9/fhir/'").await.expect("rows");
    assert_eq!(outcomes(rows), of(&all[3..], "retried"));
    for (arguments, words) in [
        ("", "no filter is given"),
        ("dry_run => true", "no filter is given"),
        ("everything => true, most => 0", "most must be at least 1"),
        ("everything => true, most => 5000", "most must be at most 1000"),
        ("since => '2026-02-01', until => '2026-01-01'", "since is later than until"),
    ] {
        let error = call(arguments).await.expect_err("refused");
        assert!(error.to_string().contains(words), "{arguments}: {error}");
    }
    let rows = call("everything => true").await.expect("rows");
    assert_eq!(outcomes(rows), of(&all[1..3], "retried"));
    assert!(app.is("SELECT bool_and(state = 'queued') FROM bulkhead.exports").await);
}
