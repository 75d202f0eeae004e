//! How servers want to be asked, and when not.

use std::time::Duration;

use bulkhead_tests::{App, SandboxConfig, Setup};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{http_table::kinds, setup};

const GROUP: &str = "FallonHealth";

async fn start(switches: &str) -> App {
    let sandbox = SandboxConfig { export_time: Duration::ZERO, switches: switches.to_owned(), ..setup().sandbox };
    let settings = vec![("RETRY_MAX_ATTEMPTS", "3".to_owned()), ("RETRY_BASE_DELAY", "0.02".to_owned())];
    App::start(Setup { sandbox, settings, ..setup() }).await
}

fn updated(line: &[u8]) -> Option<String> {
    serde_json::from_slice::<Value>(line).ok()?["meta"]["lastUpdated"].as_str().map(str::to_owned)
}

/// A midnight after which about half of the conditions were updated.
fn moment(app: &App) -> String {
    let ndjson = app.sandbox.ndjson(GROUP, "Condition");
    let mut moments: Vec<String> = ndjson.split(|byte| *byte == b'\n').filter_map(updated).collect();
    moments.sort_unstable();
    format!("{}T00:00:00Z", &moments[moments.len() / 2][..10])
}

/// An export of two types since that moment, with further fields.
async fn export(app: &App, more: Value) -> Uuid {
    let mut body = app.body_of(GROUP, &["Condition", "Encounter"]);
    body["since"] = json!(moment(app));
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    app.submit(&body).await
}

/// The resources of a type as a server that supports `_since` gives them.
fn since(app: &App, kind: &str) -> Vec<u8> {
    let (ndjson, since) = (app.sandbox.ndjson(GROUP, kind), moment(app));
    let lines = ndjson.split(|byte| *byte == b'\n').filter(|line| updated(line).is_some_and(|updated| updated >= since));
    lines.collect::<Vec<_>>().join(&b'\n')
}

async fn assert_since(app: &App, job: Uuid) {
    for kind in ["Condition", "Encounter"] {
        let wanted = since(app, kind);
        assert!(!wanted.is_empty() && wanted.len() < app.sandbox.ndjson(GROUP, kind).len(), "{kind}: the moment divides nothing");
        app.assert_rows_are(job, kind, &wanted).await;
    }
}

async fn learned(app: &App) -> Option<String> {
    sqlx::query_scalar("SELECT dialect FROM bulkhead.sources").fetch_one(&app.pool).await.expect("a source")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dialect_is_found_out_once_and_remembered() {
    for (switches, dialect) in [
        ("method=get lists=comma", "get_comma"),
        ("method=get lists=repeated", "get_repeat"),
        ("method=post lists=repeated", "post_repeat"),
        ("method=post lists=comma", "post_comma"),
        ("method=post lists=repeated dialect-status=415", "post_repeat"),
        ("method=post lists=repeated dialect-status=406", "post_repeat"),
    ] {
        let app = start(switches).await;
        let job = export(&app, json!({})).await;
        let status = app.until(job, "completed").await;
        assert_eq!(status["findings"], json!([]), "{switches}");
        assert_since(&app, job).await;
        assert_eq!(learned(&app).await.as_deref(), Some(dialect), "{switches}");
        // The next one asks in that way at once.
        let before = app.sandbox.stats().kick_off_requests;
        let job = export(&app, json!({"resource_types": ["Condition", "Patient"]})).await;
        app.until(job, "completed").await;
        assert_eq!(app.sandbox.stats().kick_off_requests - before, 1, "{switches}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialect_that_a_person_sets_is_not_learned_anew() {
    let app = start("method=post lists=repeated").await;
    let job = export(&app, json!({"dialect": "get_comma"})).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "refused");
    let job = export(&app, json!({"dialect": "post_repeat"})).await;
    app.until(job, "completed").await;
    let (code, problem) = app
        .request(
            reqwest::Method::POST,
            "/api/bulk-data/kick-off",
            Some(&json!({"fhir_server_url": app.sandbox.base_url(), "dialect": "x"})),
            &[],
        )
        .await;
    assert!(code == 422 || code == 400, "{code} {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("get_comma")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_not_supported_is_left_out_once_and_looked_at_again_when_loading() {
    for wording in ["plain", "hapi", "cerner", "azure", "coded"] {
        let app = start(&format!("refuse=_since wording={wording}")).await;
        let job = export(&app, json!({})).await;
        let status = app.until(job, "completed").await;
        assert_eq!(kinds(&status), ["left_out", "left_out", "parameter_dropped"], "{wording}");
        assert_since(&app, job).await;
        let counted = "SELECT bool_and(lines = rows + left_out) AND sum(left_out) > 0 FROM bulkhead.file_parts";
        assert!(app.is(counted).await, "{wording}");
        app.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_types_cannot_be_chosen_the_others_are_not_loaded() {
    let app = start("refuse=_type").await;
    let job = app.export_of(GROUP, &["Condition", "Encounter"]).await;
    let status = app.until(job, "completed").await;
    assert_eq!(kinds(&status), ["left_out", "parameter_dropped"]);
    app.assert_rows_of(job, GROUP, &["Condition", "Encounter"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_name_no_parameter_fail_the_export_with_them() {
    let app = start("refuse=_since wording=vague").await;
    let job = export(&app, json!({})).await;
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "refused");
    assert!(status["error"].as_str().is_some_and(|error| error.contains("The request cannot be processed")), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lenient_server_may_ignore_what_it_does_not_support() {
    let app = start("").await;
    let job = export(&app, json!({"lenient": true, "_elements": "id"})).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_reaches_the_server_and_its_answers_are_understood() {
    let all = "_until,_typeFilter,_elements,patient,includeAssociatedData,organizeOutputBy,allowPartialManifests";
    let app = start(&format!("support={all}")).await;
    // Parts of resources: marked as such.
    let job = export(&app, json!({"_elements": "id,subject"})).await;
    let status = app.until(job, "completed").await;
    assert_eq!(kinds(&status), ["subsetted", "subsetted"]);
    assert!(
        app.is(&format!(
            "SELECT bool_and(resource #> '{{meta,tag}}' @> '[{{\"code\":\"SUBSETTED\"}}]') FROM fhir.conditions WHERE etl_job_id = '{job}'"
        ))
        .await
    );

    // Some patients: by POST, whatever the server is asked by otherwise.
    let patients = app.sandbox.ndjson(GROUP, "Patient");
    let first: Value = serde_json::from_slice(patients.split(|byte| *byte == b'\n').next().expect("a line")).expect("a patient");
    let id = first["id"].as_str().expect("an id");
    let mut body = app.body_of(GROUP, &["Patient", "Condition"]);
    body["patient"] = json!([id]);
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    assert!(app.is(&format!("SELECT array_agg(id::text) = ARRAY['{id}'] FROM fhir.patients WHERE etl_job_id = '{job}'")).await);

    // Files by patient, whose headers are no rows.
    let mut body = app.body_of(GROUP, &["Patient", "Condition"]);
    body["organizeOutputBy"] = json!("Patient");
    let job = app.submit(&body).await;
    let status = app.until(job, "completed").await;
    assert_eq!(status["findings"], json!([]));
    app.assert_rows_of(job, GROUP, &["Patient", "Condition"]).await;
    assert!(app.is(&format!("SELECT sum(headers) > 0 FROM bulkhead.file_parts WHERE export_id = '{job}'")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_asked_for_too_recently_waits_for_its_clock_and_costs_no_attempt() {
    for status in ["400", "403", "429"] {
        let app = start(&format!("cool-down=4s cool-down-status={status}")).await;
        app.until(app.export_of(GROUP, &["Patient"]).await, "completed").await;
        // The sandbox says no clock, as Epic does not: a day. An operator knows better.
        let second = app.export_of(GROUP, &["Condition"]).await;
        app.until_sql(
            "SELECT count(*) = 1 FROM bulkhead.cool_downs WHERE until > now() + interval '1 minute' AND $1::uuid IS NOT NULL",
            second,
        )
        .await;
        app.until_sql("SELECT state = 'ready' AND attempt = 0 FROM bulkhead.stages WHERE export_id = $1 AND kind = 'kick_off'", second)
            .await;
        let progress = app.status(second).await["progress"].as_str().unwrap_or_default().to_owned();
        assert!(progress.contains("may be asked again at 20") && progress.contains("too recently"), "{progress}");
        // Another one of the same Group does not even ask.
        let refused = app.sandbox.stats().kick_off_requests;
        let third = app.export_of(GROUP, &["Encounter"]).await;
        app.until_sql("SELECT snoozes = 1 FROM bulkhead.stages WHERE export_id = $1 AND kind = 'kick_off'", third).await;
        assert_eq!(app.sandbox.stats().kick_off_requests, refused);
        assert_eq!(app.operate(third, "cancel").await.0, 200);
        app.sql("UPDATE bulkhead.cool_downs SET until = now() + interval '4 s'").await;
        app.sql("UPDATE bulkhead.stages SET next_run_at = now() + interval '4 s' WHERE kind = 'kick_off' AND state = 'ready'").await;
        app.until(second, "completed").await;
        assert!(app.is("SELECT max(attempt) <= 1 FROM bulkhead.stages WHERE kind = 'kick_off'").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_files_for_one_export_are_asked_for_a_type_at_a_time() {
    for at in ["kick-off", "status"] {
        let sandbox = SandboxConfig {
            resources_per_file: 50,
            export_time: Duration::ZERO,
            switches: format!("most-files=2 too-many-at={at}"),
            ..setup().sandbox
        };
        let app = App::start(Setup { sandbox, ..setup() }).await;
        // All types, which nobody names; and three.
        for types in [&[][..], &["Patient", "Condition", "Encounter"][..]] {
            let job = if types.is_empty() { app.export(GROUP).await } else { app.export_of(GROUP, types).await };
            let status = app.until(job, "completed").await;
            assert!(kinds(&status).contains(&"split_by_type"), "{at}: {status:#}");
            if types.is_empty() {
                app.assert_rows_right(job, GROUP).await;
            } else {
                app.assert_rows_of(job, GROUP, types).await;
            }
            // Each of the server's exports was let go.
            app.until_sql(
                "SELECT released_at IS NOT NULL AND cardinality(earlier_status_urls) > 1 FROM bulkhead.exports WHERE id = $1",
                job,
            )
            .await;
        }
        app.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_be_exported_is_never_left_out() {
    let app = start("").await;
    let mut body = app.body_of(GROUP, &["Patient"]);
    body["patient"] = json!(["nobody"]);
    for words in ["The patient nobody is not a member of this Group", "The parameter patient is not supported"] {
        app.sandbox.clear_faults();
        app.sandbox.fault(&*format!("kick-off:status=400;text={words}*always"));
        let status = app.until(app.submit(&body).await, "failed").await;
        assert_eq!(status["failure"]["reason"], "refused", "{words}: {status:#}");
    }
    assert_eq!(app.sandbox.stats().kick_offs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_manifest_that_turns_out_too_large_is_asked_for_a_type_at_a_time() {
    let sandbox = SandboxConfig {
        resources_per_file: 50,
        export_time: Duration::from_secs(2),
        switches: "support=allowPartialManifests most-files=2 too-many-at=status".to_owned(),
        ..setup().sandbox
    };
    let app = App::start(Setup { sandbox, ..setup() }).await;
    let mut body = app.body_of(GROUP, &["Patient", "Condition", "Encounter"]);
    body["allowPartialManifests"] = json!("true");
    let job = app.submit(&body).await;
    app.until(job, "completed").await;
    app.assert_rows_of(job, GROUP, &["Patient", "Condition", "Encounter"]).await;
    app.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_fails_among_others_is_never_left_out_silently() {
    let sandbox = SandboxConfig {
        resources_per_file: 50,
        export_time: Duration::ZERO,
        switches: "most-files=2 no-search".to_owned(),
        ..setup().sandbox
    };
    let settings = vec![("RETRY_MAX_ATTEMPTS", "2".to_owned()), ("RETRY_BASE_DELAY", "0.02".to_owned())];
    let app = App::start(Setup { sandbox, settings, ..setup() }).await;
    // The first question is for all types; later ones are refused in words that do not say "not supported".
    let job = app.export(GROUP).await;
    app.until_sql("SELECT split_at >= 1 FROM bulkhead.exports WHERE id = $1", job).await;
    app.sandbox.fault("kick-off:status=400;text=An export is already running*always");
    let status = app.until(job, "failed").await;
    assert_eq!(status["failure"]["reason"], "refused", "{status:#}");
    app.sandbox.clear_faults();
    assert_eq!(app.operate(job, "retry").await.0, 200);
    app.until(job, "completed").await;
    app.assert_rows_right(job, GROUP).await;
}
