//! Looking at resources one by one.

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

    for text in ["DISORDER", "100%_\\ of it"] {
        let found = all(&app, &path, Some(json!({ "text": text, "limit": 3 })), "").await;
        let matches = format!("strpos(lower(resource::text), lower('{text}')) > 0");
        assert_eq!(ids(&found), expected(&app, job, &matches).await, "{text}");
    }
    for (body, says) in [(json!({"text": "x"}), "2 to 200"), (json!({"texts": "xx"}), "nothing else")] {
        let (status, problem) = app.request(Method::POST, &path, Some(&body), &[]).await;
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_look_is_written_to_the_audit_log_without_what_was_searched_for_and_nothing_is_shown_if_it_cannot_be() {
    let (app, job) = loaded().await;
    let path = format!("/api/bulk-data/jobs/{job}/resources/Condition");
    let id = expected(&app, job, "true").await[0].clone();
    assert_eq!(app.request(Method::POST, &path, Some(&json!({"text": "secret words"})), &[]).await.0, 200);
    assert_eq!(app.request(Method::POST, &path, Some(&json!({"patient": "somebody"})), &[]).await.0, 200);
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
            ("Condition".to_owned(), json!({"export": export, "listed": 0})),
            ("Condition".to_owned(), json!({"export": export, "listed": 0, "patient": "somebody"})),
            (format!("Condition/{id}"), json!({"export": export})),
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
