use std::collections::BTreeSet;

use bulkhead_sandbox::{Sandbox, SandboxConfig, TYPES};
use serde_json::Value;

use crate::harness::{GROUP, get, http, json, kick_off, quick, start};

fn with(switches: &str) -> SandboxConfig {
    SandboxConfig { switches: switches.to_owned(), ..quick() }
}

async fn members(sandbox: &Sandbox, group: &str) -> Vec<String> {
    let group = json(&format!("{}/Group/{group}", sandbox.base_url())).await;
    let members = group["member"].as_array().unwrap().iter();
    members.map(|member| member["entity"]["reference"].as_str().unwrap().to_owned()).collect()
}

/// The text of every matching resource, and how many pages there were.
async fn all(first: &str) -> (BTreeSet<String>, usize) {
    let (mut found, mut pages, mut next) = (BTreeSet::new(), 0, Some(first.to_owned()));
    while let Some(url) = next {
        let page = get(&url).await.text().await.unwrap();
        let bundle: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(bundle["type"], "searchset", "{bundle}");
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            let id = entry["resource"]["id"].as_str().unwrap();
            assert!(entry["fullUrl"].as_str().unwrap().ends_with(&format!("/{id}")));
            assert!(found.insert(raw(&page, id)), "{id} is there twice");
        }
        let links = bundle["link"].as_array().unwrap();
        next = links.iter().find(|link| link["relation"] == "next").map(|link| link["url"].as_str().unwrap().to_owned());
        pages += 1;
    }
    (found, pages)
}

/// The resource as the bytes of the answer have it.
fn raw(page: &str, id: &str) -> String {
    let start = page.find(&format!("/{id}\",\"resource\":")).unwrap();
    let from = page[start..].split_once("\"resource\":").unwrap().1;
    from.split_once(",\"search\":{\"mode\"").unwrap().0.to_owned()
}

#[tokio::test]
async fn finds_exactly_what_the_export_of_the_group_gives() {
    let sandbox = start(quick());
    let base = sandbox.base_url();
    let ids: Vec<_> = members(&sandbox, GROUP).await.iter().map(|member| member.replace("Patient/", "")).collect();
    for kind in TYPES {
        let by = if kind == "Patient" { "_id" } else { "patient" };
        let (found, _) = all(&format!("{base}/{kind}?{by}={}&_count=7", ids.join(","))).await;
        let exported = String::from_utf8(sandbox.ndjson(GROUP, kind)).unwrap();
        assert_eq!(found, exported.lines().map(str::to_owned).collect(), "{kind}");
    }
}

#[tokio::test]
async fn pages_tell_the_total_and_survive_a_restart() {
    let sandbox = start(quick());
    let base = sandbox.base_url();
    let first = json(&format!("{base}/Encounter?_count=10")).await;
    let next = first["link"][1]["url"].as_str().unwrap();
    let total = first["total"].as_u64().unwrap();
    assert_eq!(total, sandbox.expected(None)["Encounter"]);
    sandbox.start_again().await.unwrap();
    let second = json(next).await;
    assert_eq!(second["entry"].as_array().unwrap().len(), 10);
    let (found, pages) = all(&format!("{base}/Encounter?_count=10")).await;
    assert_eq!((found.len() as u64, pages as u64), (total, total.div_ceil(10)));
    assert_eq!(json(&format!("{base}/Encounter?_summary=count")).await["total"], total);
    assert_eq!(get(&format!("{base}/Encounter?_cursor=no.0.1")).await.status(), 410);

    let strict = start(with("no-total page=5"));
    let page = json(&format!("{}/Encounter?_count=10", strict.base_url())).await;
    assert!(page.get("total").is_none());
    assert_eq!(page["entry"].as_array().unwrap().len(), 5, "the server gives fewer than were asked for");
}

#[tokio::test]
async fn searches_by_post_and_by_time_and_refuses_what_it_does_not_know() {
    let sandbox = start(with("longest-url=200"));
    let base = sandbox.base_url();
    let patients = members(&sandbox, "TuftsHealthPlan").await.join(",");
    assert!(patients.len() > 200);
    let by_get = get(&format!("{base}/Encounter?patient={patients}")).await;
    assert_eq!(by_get.status(), 414);
    let form = [("patient", patients.as_str()), ("_count", "1000")];
    let found: Value = http().post(format!("{base}/Encounter/_search")).form(&form).send().await.unwrap().json().await.unwrap();
    assert_eq!(found["total"], sandbox.expected(Some("TuftsHealthPlan"))["Encounter"]);
    let count = async |query: &str| json(&format!("{base}/Encounter?_summary=count&{query}")).await["total"].as_u64().unwrap();
    let (newer, older) = (count("_lastUpdated=gt2025-01-01").await, count("_lastUpdated=lt2025-01-02").await);
    assert_eq!(newer + older, count("").await);
    assert!(newer > 0 && older > 0);
    let unknown = get(&format!("{base}/Encounter?colour=red")).await;
    assert_eq!(unknown.status(), 400);
    assert!(unknown.text().await.unwrap().contains("colour"));
    assert_eq!(get(&format!("{base}/Starship")).await.status(), 404);
    let only_get = start(with("no-post-search"));
    let refused = http().post(format!("{}/Encounter/_search", only_get.base_url())).form(&form).send().await.unwrap();
    assert_eq!(refused.status(), 405);
}

#[tokio::test]
async fn odd_groups_have_members_in_every_form_and_export_what_they_contain() {
    let sandbox = start(with("odd-groups page=3"));
    let base = sandbox.base_url();
    let (groups, pages) = all(&format!("{base}/Group")).await;
    assert_eq!((groups.len(), pages), (15, 5));
    assert!(members(&sandbox, "cyclic").await.contains(&"Group/cyclic".to_owned()));
    assert!(members(&sandbox, "urn").await.iter().all(|member| member.starts_with("urn:uuid:")));
    assert!(members(&sandbox, "absolute").await.iter().all(|member| member.starts_with(&format!("{base}/Patient/"))));
    assert!(members(&sandbox, "nested").await.contains(&"Group/inner".to_owned()));
    assert_eq!(sandbox.expected(Some("nested"))["Patient"], 9, "three Groups of three patients, nobody twice");
    assert_eq!(sandbox.expected(Some("cyclic"))["Patient"], 6);
    assert_eq!(kick_off(&sandbox, "Group/cyclic/$export").send().await.unwrap().status(), 202);
    let patient = members(&sandbox, "urn").await[0].replace("urn:uuid:", "");
    assert_eq!(json(&format!("{base}/Patient/{patient}")).await["id"], patient);
}

#[tokio::test]
async fn says_what_can_be_searched_and_exported() {
    let sandbox = start(quick());
    let capabilities = json(&format!("{}/metadata", sandbox.base_url())).await;
    let resources = capabilities["rest"][0]["resource"].as_array().unwrap();
    let of = |kind: &str| resources.iter().find(|resource| resource["type"] == kind).unwrap();
    assert_eq!(of("Condition")["searchParam"][2]["name"], "patient");
    assert_eq!(of("Group")["operation"][0]["definition"], "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export");

    let bare = start(with("no-export no-discovery no-search"));
    let base = bare.base_url();
    let kick_off = kick_off(&bare, "Group/FallonHealth/$export").send().await.unwrap();
    assert_eq!(kick_off.status(), 404);
    assert!(kick_off.text().await.unwrap().contains("not-supported"));
    assert!(!get(&format!("{base}/metadata")).await.text().await.unwrap().contains("OperationDefinition"));
    assert_eq!(get(&format!("{base}/.well-known/smart-configuration")).await.status(), 404);
    assert_eq!(get(&format!("{base}/Condition")).await.status(), 404);
}

#[tokio::test]
async fn pages_break_as_asked() {
    let sandbox = start(quick());
    let url = format!("{}/Encounter?_count=10", sandbox.base_url());
    let honest = json(&url).await;
    let with = async |fault: &str, url: &str| {
        sandbox.fault(fault);
        json(url).await
    };
    let page = with("search:outcome-entry=warning", &url).await;
    let last = page["entry"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((last["search"]["mode"].as_str(), last["resource"]["issue"][0]["severity"].as_str()), (Some("outcome"), Some("warning")));
    assert!(with("search:missing-next", &url).await["link"].get(1).is_none());
    assert_eq!(with("search:wrong-total", &url).await["total"], honest["total"].as_u64().unwrap() + 7);
    assert!(with("search:relative-next", &url).await["link"][1]["url"].as_str().unwrap().starts_with("Encounter?"));
    assert!(with("search:foreign-next", &url).await["link"][1]["url"].as_str().unwrap().starts_with("http://198.51.100.7/"));
    sandbox.fault("search:circle=2*always");
    let second = json(honest["link"][1]["url"].as_str().unwrap()).await;
    let third = json(second["link"][1]["url"].as_str().unwrap()).await;
    assert_eq!(third["entry"], honest["entry"]);
    sandbox.clear_faults();
    for (place, path) in [("search", "/Encounter"), ("metadata", "/metadata"), ("discovery", "/.well-known/smart-configuration")] {
        sandbox.fault(format!("{place}:status=503").as_str());
        assert_eq!(get(&format!("{}{path}", sandbox.base_url())).await.status(), 503);
    }
}
