use std::collections::{BTreeMap, BTreeSet};

use axum::{body::Body, http::Request};
use bulkhead_shared::{domain::outgoing::OutgoingRules, secrets::Cipher};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tower::ServiceExt as _;

use super::*;
use crate::{ApiState, router};

fn parsed() -> Value {
    serde_json::from_str(document()).unwrap()
}

#[test]
fn the_committed_description_is_the_served_one() {
    let committed: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap_or_default();
    assert!(
        parsed() == committed,
        "the API has changed and its description with it; look at the difference after: cargo run -p bulkhead-api -- openapi > api/openapi.json"
    );
}

/// The real router, with a database that nobody asks.
fn the_router() -> axum::Router {
    let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@127.0.0.1:1/x").unwrap();
    let cipher = Cipher::from_base64("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
    router(ApiState::new(pool, cipher, OutgoingRules::default(), 1))
}

/// The paths of a router: axum tells them only to who looks at it.
fn paths(router: &axum::Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    shown.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/') && !text.contains('*')).map(str::to_owned).collect()
}

/// The methods that a path has, as it says itself to somebody who asks with another. None: the router's fallback answers, under `/` too.
async fn methods(router: &axum::Router, path: &str) -> Option<BTreeSet<String>> {
    let some = path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment }).collect::<Vec<_>>().join("/");
    let request = Request::builder().method("TRACE").uri(&some).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    if path == "/" && response.status() == 404 {
        return None;
    }
    let allowed = response.headers().get("allow").unwrap_or_else(|| panic!("{path}: {response:?}")).to_str().unwrap();
    Some(allowed.split(',').map(|method| method.trim().to_ascii_lowercase()).filter(|method| method != "head").collect())
}

#[tokio::test]
async fn every_route_and_method_of_the_router_is_described_and_no_other() {
    let router = the_router();
    let served = paths(&router);
    assert!(served.contains("/api/bulk-data/kick-off") && served.len() > 10, "axum shows its routes otherwise now: {router:?}");
    let mut there = BTreeMap::new();
    for path in served {
        if let Some(methods) = methods(&router, &path).await {
            there.insert(path, methods);
        }
    }
    let described: BTreeMap<String, BTreeSet<String>> = parsed()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, methods)| (path.clone(), methods.as_object().unwrap().keys().cloned().collect()))
        .collect();
    assert_eq!(described, there, "describe it by #[utoipa::path] at its handler, and name that in api/src/openapi/mod.rs");
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let document = parsed();
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: {name} is there twice");
            for what in ["summary", "tags", "responses"] {
                assert!(!operation[what].is_null(), "{method} {path} has no {what}");
            }
        }
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[test]
fn every_field_is_described() {
    for (name, schema) in parsed()["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let own = [&schema["description"], &schema["$ref"], &schema["oneOf"][0]["description"]];
            assert!(own.iter().any(|text| text.as_str().is_some_and(|text| !text.is_empty())), "{name}.{field} has no description");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[test]
fn every_parameter_of_the_list_is_described_and_no_other() {
    let document = parsed();
    let parameters = document["paths"]["/api/bulk-data/jobs"]["get"]["parameters"].as_array().unwrap();
    let described: BTreeSet<&str> = parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
    assert_eq!(described, routes::jobs::PARAMETERS.iter().copied().collect());
}

#[test]
fn every_parameter_of_the_data_is_described_and_no_other() {
    let document = parsed();
    let parameters = document["paths"]["/api/bulk-data/data"]["get"]["parameters"].as_array().unwrap();
    let described: BTreeSet<&str> = parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
    assert_eq!(described, crate::data::PARAMETERS.iter().copied().collect());
}

#[test]
fn every_problem_has_a_type_of_its_own() {
    let types: BTreeSet<&str> = problem::Kind::ALL.iter().map(|kind| kind.facts().1).collect();
    assert_eq!(types.len(), problem::Kind::ALL.len());
}
