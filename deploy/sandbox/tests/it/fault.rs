use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::harness::{GROUP, body, file_url, get, header, http, json, kick_off, manifest, quick, start, status_url};

#[tokio::test]
async fn errors_come_as_often_as_asked_and_where_asked() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    for (fault, code, body_says) in [
        ("status:status=503", 503, "transient"),
        ("status:status=500;issue=timeout;text=Try later", 500, "Try later"),
        ("status:html=502", 502, "<html>"),
        ("any:expired", 410, "expired"),
        ("any:gone=404", 404, "not-found"),
        ("status:unauthorized", 401, "login"),
        ("status:too-many-files", 413, "Too many files"),
    ] {
        sandbox.fault(fault);
        let response = get(&status).await;
        assert_eq!(response.status(), code, "{fault}");
        assert!(response.text().await.unwrap().contains(body_says), "{fault}");
        assert_eq!(get(&status).await.status(), 200, "{fault} strikes once");
    }
    sandbox.fault("status:status=429;retry-after=2*2");
    assert_eq!(header(&get(&status).await, "retry-after"), "2");
    sandbox.clear_faults();
    assert_eq!(get(&status).await.status(), 200);
    sandbox.fault("status:status=429;retry-after-date=60*always@status");
    let response = get(&status).await;
    let at = httpdate::parse_http_date(header(&response, "retry-after")).unwrap();
    assert!(at > std::time::UNIX_EPOCH);
    assert_eq!(get(&status).await.status(), 429);
    assert_eq!(sandbox.stats().faults, 10);
}

#[tokio::test]
async fn kick_offs_break_before_and_after_the_export_exists() {
    let sandbox = start(quick());
    let send = || kick_off(&sandbox, "Patient/$export").send();
    sandbox.fault("kick-off:drop");
    assert!(send().await.is_err());
    assert_eq!(sandbox.stats().kick_offs, 0);
    sandbox.fault("kick-off:drop-after");
    assert!(send().await.is_err());
    assert_eq!(sandbox.stats().kick_offs, 1);
    sandbox.fault("kick-off:status-after=500");
    assert_eq!(send().await.unwrap().status(), 500);
    assert_eq!(sandbox.stats().kick_offs, 2);
    sandbox.fault("kick-off:cut-location");
    assert_eq!(header(&send().await.unwrap(), "content-location"), "");
    sandbox.fault("kick-off:relative-location");
    assert!(header(&send().await.unwrap(), "content-location").starts_with("/fhir/status/"));
    assert_eq!(sandbox.stats().kick_off_requests, 5);
}

#[tokio::test]
async fn holds_requests_until_they_are_released() {
    let sandbox = start(quick());
    sandbox.fault("kick-off:hold-after");
    let held = tokio::spawn(kick_off(&sandbox, "Patient/$export").send());
    let stats = sandbox.wait_until(|stats| stats.held == 1).await;
    assert_eq!(stats.kick_offs, 1);
    sandbox.release();
    assert_eq!(held.await.unwrap().unwrap().status(), 202);

    let file = file_url(&manifest(&sandbox).await, "Patient");
    for fault in ["file:hold", "file:hold=half"] {
        sandbox.fault(fault);
        let file = file.clone();
        let held = tokio::spawn(async move { body(&file).await });
        sandbox.wait_until(|stats| stats.held == 1).await;
        sandbox.release();
        assert_eq!(held.await.unwrap().unwrap(), sandbox.ndjson(GROUP, "Patient"), "{fault}");
    }
    assert_eq!(sandbox.stats().held, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_is_held_no_more() {
    let sandbox = start(quick());
    sandbox.fault("any:hold");
    let held = tokio::spawn(kick_off(&sandbox, "Patient/$export").send());
    sandbox.wait_until(|stats| stats.held == 1).await;
    held.abort();
    let stats = sandbox.wait_until(|stats| stats.held == 0).await;
    assert_eq!(stats.kick_offs, 0);
}

#[tokio::test]
async fn manifests_lie_as_asked() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    let honest = json(&status).await;
    let files = |manifest: &Value| manifest["output"].as_array().map_or(0, Vec::len);
    let with = async |fault: &str| {
        sandbox.fault(fault);
        json(&status).await
    };
    let wrong = with("status:wrong-count").await;
    assert_eq!(wrong["output"][0]["count"], honest["output"][0]["count"].as_u64().unwrap() + 1);
    assert_eq!(files(&with("status:empty-manifest").await), 0);
    assert!(with("status:no-output").await.get("output").is_none());
    let again = with("status:duplicate-across-files").await;
    assert_eq!(files(&again), 2 * files(&honest));
    let extra = again["output"].as_array().unwrap().last().unwrap().clone();
    let lines = String::from_utf8(body(extra["url"].as_str().unwrap()).await.unwrap()).unwrap();
    assert_eq!(extra["count"], lines.lines().count() as u64);
    assert!(lines.lines().all(|line| line.contains("\"x-newer\"")));
    for severity in ["warning", "error"] {
        let partial = with(&format!("status:error-outcome={severity}")).await;
        let outcome = json(partial["error"][0]["url"].as_str().unwrap()).await;
        assert_eq!(outcome["issue"][0]["severity"], severity);
    }
    let mut page = with("status:next-pages=3").await;
    let mut seen = files(&page);
    while let Some(next) = page["link"][0]["url"].as_str() {
        page = json(next).await;
        seen += files(&page);
    }
    assert_eq!(seen, files(&honest));
    sandbox.fault("status:expires=0s");
    get(&status).await;
    assert_eq!(get(&status).await.status(), 410);
    assert_eq!(get(&file_url(&honest, "Patient")).await.status(), 410);
}

#[tokio::test]
async fn files_are_spoilt_as_asked_and_only_once() {
    let sandbox = start(quick());
    let honest = manifest(&sandbox).await;
    let url = file_url(&honest, "Condition");
    let whole = sandbox.ndjson(GROUP, "Condition");
    for (fault, says) in [
        ("file:malformed-line", None),
        ("file:invalid-utf8", None),
        ("file:nul-escape@Condition", Some("\\u0000")),
        ("file:duplicate-ids", Some("x-newer")),
        ("file:wrong-type", Some("Basic")),
        ("file:bom", Some("\u{feff}")),
        ("file:blank-lines", Some("\n \r\n")),
        ("file:no-final-newline", Some("}")),
    ] {
        sandbox.fault(fault);
        let spoilt = body(&url).await.unwrap();
        assert_ne!(spoilt, whole, "{fault}");
        assert!(says.is_none_or(|says| String::from_utf8_lossy(&spoilt).contains(says)), "{fault}");
        assert_eq!(body(&url).await.unwrap(), whole, "{fault} strikes once");
    }
    sandbox.fault("file:malformed-line@Encounter");
    assert_eq!(body(&url).await.unwrap(), whole, "not this file");
    sandbox.clear_faults();
    sandbox.fault("file:duplicate-ids@Condition");
    let count = |manifest: &Value| manifest["output"][1]["count"].as_u64().unwrap();
    let counted = manifest(&sandbox).await;
    assert_eq!(count(&counted), count(&honest) + 10, "the manifest counts what the file will have");
}

#[tokio::test]
async fn files_break_on_the_way() {
    let sandbox = start(quick());
    let url = file_url(&manifest(&sandbox).await, "Patient");
    let whole = sandbox.ndjson(GROUP, "Patient");
    sandbox.fault("file:truncate=100");
    assert_eq!(body(&url).await.unwrap(), whole[..100], "short, but cleanly");
    for fault in ["file:drop=100", "file:drop=0", "file:drop"] {
        sandbox.fault(fault);
        assert!(body(&url).await.is_err(), "{fault}");
    }
    sandbox.fault("file:slow=1000000");
    assert_eq!(body(&url).await.unwrap(), whole);
    sandbox.fault("file:corrupt-gzip");
    assert_eq!(body(&url).await.unwrap(), whole, "waits for a packed answer");
    let packed = http().get(&url).header("accept-encoding", "gzip").send().await.unwrap().bytes().await.unwrap();
    assert!(GzDecoder::new(&packed[..]).read_to_end(&mut Vec::new()).is_err());
}

#[tokio::test]
async fn faults_can_be_armed_over_http() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    let faults = sandbox.base_url().replace("/fhir", "/sandbox/faults");
    let arm = |body: &'static str| http().post(&faults).body(body).send();
    arm("status:status=500\nstatus:status=503").await.unwrap();
    arm(r#"{"where": "status", "what": "html=504", "times": 2}"#).await.unwrap();
    for code in [500, 503, 504, 504, 200] {
        assert_eq!(get(&status).await.status(), code);
    }
    assert_eq!(arm("status:nonsense").await.unwrap().status(), 400);
    arm("any:status=500*always").await.unwrap();
    http().delete(&faults).send().await.unwrap();
    assert_eq!(get(&status).await.status(), 200);
}
