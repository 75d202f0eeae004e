//! Looking at resources one by one.

use std::time::{Duration, Instant};

use bulkhead_tests::{App, app::client};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::page::{links, pages, read};
use crate::setup;

const GROUP: &str = "HealthNewEngland";

async fn loaded() -> (App, Uuid) {
    let app = App::start(setup()).await;
    let job = app.export(GROUP).await;
    app.until(job, "completed").await;
    app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.summaries WHERE export_id = $1)", job).await;
    (app, job)
}

/// All pages of a list, in order.
async fn all(app: &App, path: &str, body: Option<Value>, query: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut after = Value::Null;
    loop {
        let (status, page) = if let Some(body) = &body {
            let mut body = body.clone();
            body["after"].clone_from(&after);
            app.request(Method::POST, path, Some(&body), &[]).await
        } else {
            let after = after.as_str().map(|after| format!("&after={after}")).unwrap_or_default();
            app.request(Method::GET, &format!("{path}?limit=7&{query}{after}"), None, &[]).await
        };
        assert_eq!(status, 200, "{page:#}");
        found.extend(page["resources"].as_array().expect("resources").iter().cloned());
        after = page["next"].clone();
        if after.is_null() {
            return found;
        }
    }
}

fn ids(found: &[Value]) -> Vec<String> {
    found.iter().map(|resource| resource["id"].as_str().expect("an id").to_owned()).collect()
}

async fn expected(app: &App, job: Uuid, condition: &str) -> Vec<String> {
    let sql = format!("SELECT id FROM conditions WHERE etl_job_id = $1 AND {condition} ORDER BY id");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(job).fetch_all(&app.pool).await.expect("conditions")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_every_resource_once_and_a_search_exactly_those_that_match() {
    let (app, job) = loaded().await;
    let path = format!("/api/bulk-data/jobs/{job}/resources/Condition");
    let everything = all(&app, &path, None, "").await;
    // Whether or not it is known yet what is about whom.
    let early = everything[0]["patient_id"].as_str().expect("a patient");
    app.sql("UPDATE bulkhead.summaries SET of_end = of_end - interval '1 s'").await;
    let found = all(&app, &path, Some(json!({ "patient": early, "text": "disorder", "limit": 1 })), "").await;
    let matches = format!("patient_id = '{early}' AND resource::text ILIKE '%disorder%'");
    assert_eq!(ids(&found), expected(&app, job, &matches).await);
    app.sql("UPDATE bulkhead.summaries SET of_end = of_end + interval '1 s'").await;
    assert_eq!(ids(&everything), expected(&app, job, "true").await);
    assert!(everything.len() > 14 && everything[0]["about"].is_string(), "more than two pages, with what they are about");

    let patient = everything[0]["patient_id"].as_str().expect("a patient");
    let whose = format!("patient_id = '{patient}'");
    let theirs = all(&app, &path, Some(json!({ "patient": patient, "limit": 2 })), "").await;
    assert_eq!(ids(&theirs), expected(&app, job, &whose).await);
    assert!(theirs.len() > 2, "more than a page");
    let some = all(&app, &path, Some(json!({ "patient": patient, "text": "disorder", "limit": 1 })), "").await;
    let matches = format!("{whose} AND resource::text ILIKE '%disorder%'");
    assert_eq!(ids(&some), expected(&app, job, &matches).await);
    let people = format!("/api/bulk-data/jobs/{job}/resources/Patient");
    assert_eq!(ids(&all(&app, &people, Some(json!({ "patient": patient })), "").await), [patient]);
    let (status, problem) = app.request(Method::GET, &format!("{path}?patient={patient}"), None, &[]).await;
    assert!(status == 400 && problem["detail"].as_str().is_some_and(|detail| detail.contains("POST")), "in no address: {problem}");

    let noted = &ids(&everything)[1];
    let note = r#"{"note": [{"text": "He said \"100%_\\ of it\" hurts"}]}"#;
    app.sql(&format!("UPDATE conditions SET resource = resource || '{note}' WHERE etl_job_id = '{job}' AND id = '{noted}'")).await;
    let with_text = |text: &'static str| all(&app, &path, Some(json!({ "text": text, "limit": 3 })), "");
    assert_eq!(ids(&with_text("DISORDER").await), expected(&app, job, "resource::text ILIKE '%disorder%'").await);
    for text in [r#"said "100%"#, r"%_\ OF", r#"of it" h"#, r#"\"100"#, "\"note\": ["] {
        assert_eq!(ids(&with_text(text).await), [noted.as_str()], "{text}");
    }
    assert!(with_text("100%_ of").await.is_empty(), "no wildcards");
    for (body, says) in [(json!({"text": "x"}), "2 to 200"), (json!({"texts": "xx"}), "nothing else")] {
        let (status, problem) = app.request(Method::POST, &path, Some(&body), &[]).await;
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
    }
}

/// Backends that look for a text at this moment.
async fn searching(app: &App) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%left(coalesce(resource%' AND pid <> pg_backend_pid()")
        .fetch_one(&app.pool)
        .await
        .expect("activity")
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_for_a_text_leave_room_for_everybody_else_and_end_with_who_asked() {
    let (app, job) = loaded().await;
    app.sql(&format!(
        "INSERT INTO conditions (etl_job_id, id, part_id, resource)
         SELECT '{job}', 'large-' || n, (SELECT max(part_id) FROM conditions), jsonb_build_object('resourceType', 'Condition', 'id', 'large-' || n, 'note', t)
           FROM generate_series(1, 600) n, (SELECT string_agg(md5(random()::text), '') AS t FROM generate_series(1, 6000)) x"
    ))
    .await;
    let address = format!("{}/api/bulk-data/jobs/{job}/resources/Condition", app.api);
    let body = json!({"text": "nobody has this"});
    let asks: Vec<_> = (0..24).map(|_| tokio::spawn(client().post(&address).json(&body).send())).collect();
    let (mut most, began) = (0, Instant::now());
    while began.elapsed() < Duration::from_secs(2) {
        most = most.max(searching(&app).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((1..=2).contains(&most), "{most} search at once");
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(app.status(job).await["status"], "completed");
    while searching(&app).await > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "searches go on for nobody");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_cannot_go_on_is_ended_in_words() {
    let (app, job) = loaded().await;
    let mut held = app.pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE conditions IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.expect("a lock");
    let path = format!("/api/bulk-data/jobs/{job}/resources/Condition");
    let search = json!({"text": "disorder"});
    let asking = app.request(Method::POST, &path, Some(&search), &[]);
    // Nobody may be silent in a transaction for long.
    let holding = async {
        loop {
            sqlx::query("SELECT 1").execute(&mut *held).await.expect("the lock is held");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (status, problem) = tokio::select! { answer = asking => answer, () = holding => unreachable!("it ends never") };
    assert!(status == 503 && problem["detail"].as_str().is_some_and(|detail| detail.contains("took too long")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_no_database_can_hold_is_refused_in_words() {
    let (app, job) = loaded().await;
    let resources = format!("/api/bulk-data/jobs/{job}/resources");
    let body = json!({"patient": "a\0b"});
    for (method, path, body) in [
        (Method::POST, format!("{resources}/Condition"), Some(&body)),
        (Method::GET, format!("{resources}/Condition?after=%00"), None),
        (Method::GET, format!("{resources}/Con%00dition"), None),
        (Method::GET, format!("{resources}/Condition/a%00b"), None),
        (Method::GET, format!("/api/bulk-data/data?etl_job_id={job}&resource_type=%00"), None),
        (Method::GET, format!("/api/bulk-data/data?etl_job_id={job}&condition=%00"), None),
    ] {
        let (status, problem) = app.request(method, &path, body, &[]).await;
        assert!(status == 400 && problem["detail"].as_str().is_some_and(|detail| detail.contains("NUL")), "{path}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_look_is_written_to_the_audit_log_without_what_was_searched_for_and_nothing_is_shown_if_it_cannot_be() {
    let (app, job) = loaded().await;
    let path = format!("/api/bulk-data/jobs/{job}/resources/Condition");
    let id = expected(&app, job, "true").await[0].clone();
    let sql = "SELECT patient_id FROM conditions WHERE etl_job_id = $1 AND id = $2";
    let patient: String = sqlx::query_scalar(sql).bind(job).bind(&id).fetch_one(&app.pool).await.expect("a patient");
    assert_eq!(app.request(Method::POST, &path, Some(&json!({"text": "secret words"})), &[]).await.0, 200);
    assert_eq!(app.request(Method::POST, &path, Some(&json!({"patient": "somebody"})), &[]).await.0, 200);
    assert_eq!(app.request(Method::GET, &format!("{path}?limit=1"), None, &[]).await.0, 200);
    assert_eq!(app.request(Method::GET, &format!("{path}/{id}"), None, &[]).await.0, 200);
    assert_eq!(app.request(Method::GET, &format!("{path}/nothing"), None, &[]).await.0, 404);
    let seen: Vec<(String, Value)> =
        sqlx::query_as("SELECT object, detail FROM bulkhead.audit_log WHERE act = 'resource_seen' ORDER BY id")
            .fetch_all(&app.pool)
            .await
            .expect("it");
    let export = job.to_string();
    assert_eq!(
        seen,
        [
            ("Condition".to_owned(), json!({"export": export, "ids": []})),
            ("Condition".to_owned(), json!({"export": export, "ids": [], "patient": "somebody"})),
            ("Condition".to_owned(), json!({"export": export, "ids": [id]})),
            (format!("Condition/{id}"), json!({"export": export, "patient": patient})),
        ]
    );
    app.sql("ALTER TABLE bulkhead.audit_log RENAME TO away").await;
    let (status, answer) = app.request(Method::GET, &format!("{path}/{id}"), None, &[]).await;
    assert_eq!(status, 500);
    assert!(!answer.to_string().contains(&id), "nothing is shown: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_a_resource_whose_references_lead_on_inside_the_export() {
    let (app, job) = loaded().await;
    let base = pages(&app).await;
    let (id, patient): (String, String) = sqlx::query_as("SELECT id, patient_id FROM conditions WHERE etl_job_id = $1 ORDER BY id LIMIT 1")
        .bind(job)
        .fetch_one(&app.pool)
        .await
        .expect("a condition");
    let (list, _) = read(&base, &format!("/data/{job}/resources?type=Condition"), "zh").await;
    assert!(list.contains("资源") && links(&list).contains(&format!("/data/{job}/resources/Condition/{id}")), "the list leads there");
    let (html, _) = read(&base, &format!("/data/{job}/resources/Condition/{id}"), "en").await;
    let next = format!("/data/{job}/resources/Patient/{patient}");
    assert!(links(&html).contains(&next), "{html}");
    let (person, _) = read(&base, &next, "en").await;
    assert!(person.contains("birthDate"), "the patient");

    sqlx::query("UPDATE conditions SET resource = $3 WHERE etl_job_id = $1 AND id = $2")
        .bind(job)
        .bind(&id)
        .bind(json!({"resourceType": "Condition", "id": id, "subject": {"reference": "Patient/elsewhere"}, "note": "<script>alert(1)</script>"}))
        .execute(&app.pool)
        .await
        .expect("a row");
    let (html, _) = read(&base, &format!("/data/{job}/resources/Condition/{id}"), "en").await;
    assert!(
        html.contains("Not in this export") && !html.contains("<script>alert"),
        "a reference that leads nowhere, and text that is text"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_searched_for_is_sent_in_a_body_and_stands_in_no_address() {
    let (app, job) = loaded().await;
    let base = pages(&app).await;
    let address = format!("{base}/data/{job}/resources");
    let search = async |form: &[(&str, &str)]| {
        let answer = client().post(&address).form(form).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a page")
    };
    let html = search(&[("type", "Condition"), ("text", "disorder"), ("patient", ""), ("after", "")]).await;
    assert!(links(&html).iter().any(|link| link.contains("/resources/Condition/")), "it finds");
    assert!(links(&html).iter().all(|link| !link.contains("disorder")), "no link holds it");
    let none = search(&[("type", "Condition"), ("text", "nobody has this"), ("patient", "")]).await;
    assert!(none.contains("There is no such resource"), "it says so");
    let (ignored, _) = read(&base, &format!("/data/{job}/resources?type=Condition&text=nobody+has+this"), "en").await;
    assert!(links(&ignored).iter().any(|link| link.contains("/resources/Condition/")), "an address does not search");
    let (ignored, _) = read(&base, &format!("/data/{job}/resources?type=Condition&patient=nobody"), "en").await;
    assert!(links(&ignored).iter().any(|link| link.contains("/resources/Condition/")), "nor for a patient");
    assert!(
        links(&ignored).iter().all(|link| !link.contains("patient=")) && ignored.contains("name=\"patient\" value="),
        "a form leads to whose it is"
    );
}
