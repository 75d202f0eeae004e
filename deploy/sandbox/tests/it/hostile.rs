//! What a server should not do, and real ones do.

use std::collections::HashSet;
use std::io::Read;
use std::time::Duration;

use bulkhead_sandbox::SandboxConfig;
use flate2::read::GzDecoder;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{GROUP, body, file_url, get, header, http, json, kick_off, manifest, quick, start, status_url};

fn with(switches: &str) -> SandboxConfig {
    SandboxConfig { switches: switches.to_owned(), ..quick() }
}

/// A client that follows no redirect.
#[expect(clippy::disallowed_methods, reason = "the door to HTTP clients of these tests")]
fn standing() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[tokio::test]
async fn retry_after_comes_in_every_form() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    let now = seconds(header(&get(&status).await, "date"));
    for (form, check) in [
        ("retry-after=-1", Box::new(|value: &str| value == "-1") as Box<dyn Fn(&str) -> bool>),
        ("retry-after=0", Box::new(|value| value == "0")),
        ("retry-after=soon", Box::new(|value| value == "soon")),
        ("retry-after=315360000", Box::new(|value| value == "315360000")),
        ("retry-after-date=-3600", Box::new(move |value| seconds(value) < now - 3000)),
        ("retry-after-epoch=60", Box::new(move |value| (value.parse::<i64>().unwrap() - now).abs() < 120)),
        ("retry-after-epoch-ms=60", Box::new(move |value| (value.parse::<i64>().unwrap() / 1000 - now).abs() < 120)),
    ] {
        for fault in [format!("status:pending={form}"), format!("status:status=429;{form}")] {
            sandbox.fault(fault.as_str());
            let response = get(&status).await;
            assert!([202, 429].contains(&response.status().as_u16()));
            assert!(check(header(&response, "retry-after")), "{fault}: {}", header(&response, "retry-after"));
        }
    }
    sandbox.fault("status:pending=progress=a long text*3");
    for _ in 0..3 {
        assert_eq!(header(&get(&status).await, "x-progress"), "a long text");
    }
    assert_eq!(get(&status).await.status(), 200);
}

fn seconds(date: &str) -> i64 {
    let at = httpdate::parse_http_date(date).unwrap();
    i64::try_from(at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[tokio::test]
async fn manifests_lack_and_twist_what_real_ones_do() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    let with = async |fault: &str| {
        sandbox.fault(fault);
        json(&status).await
    };
    for name in ["error", "output", "deleted", "requiresAccessToken", "transactionTime", "request"] {
        assert!(with(&format!("status:without={name}")).await.get(name).is_none());
    }
    assert!(with("status:without=type").await["output"][0].get("type").is_none());
    assert_eq!(with("status:transaction-time=yesterday").await["transactionTime"], "yesterday");
    assert_eq!(with("status:request=http://fhir-7.internal/x").await["request"], "http://fhir-7.internal/x");
    for severity in ["fatal", "information"] {
        let manifest = with(&format!("status:error-outcome={severity}")).await;
        assert_eq!(json(manifest["error"][0]["url"].as_str().unwrap()).await["issue"][0]["severity"], severity);
    }
    sandbox.fault("status:error-outcome=error");
    let renamed = with("status:outcome-key").await;
    assert!(renamed.get("error").is_none() && renamed["outcome"][0]["url"].is_string());
    let relative = with("status:relative-urls").await;
    let base = reqwest::Url::parse(&status).unwrap();
    for file in relative["output"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        assert!(!url.starts_with("http"));
        assert!(!body(base.join(url).unwrap().as_str()).await.unwrap().is_empty());
    }
    let deleted = with("status:deleted=12").await;
    let lines = body(deleted["deleted"][0]["url"].as_str().unwrap()).await.unwrap();
    let bundles: Vec<Value> = lines.trim_ascii().split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(deleted["deleted"][0]["count"], bundles.len());
    let entries: Vec<_> = bundles.iter().flat_map(|bundle| bundle["entry"].as_array().unwrap()).collect();
    assert_eq!((entries.len(), &entries[0]["request"]["method"], &bundles[0]["type"]), (12, &json!("DELETE"), &json!("transaction")));
}

#[tokio::test]
async fn next_links_go_round_or_never_end() {
    let sandbox = start(quick());
    let status = status_url(&sandbox).await;
    let follow = async |mut url: String, times: usize| {
        let mut seen = HashSet::new();
        for _ in 0..times {
            url = json(&url).await["link"][0]["url"].as_str().unwrap().to_owned();
            seen.insert(url.clone());
        }
        seen.len()
    };
    sandbox.fault("status:next-circle=3");
    assert_eq!(follow(status.clone(), 9).await, 3);
    sandbox.fault("status:endless-next");
    assert_eq!(follow(status, 9).await, 9);
}

#[tokio::test]
async fn answers_carry_odd_headers_and_redirect_for_ever() {
    let sandbox = start(quick());
    let file = file_url(&manifest(&sandbox).await, "Patient");
    sandbox.fault("file:header=content-type: binary/octet-stream");
    assert_eq!(header(&get(&file).await, "content-type"), "binary/octet-stream");
    sandbox.fault("file:huge-headers=200kB");
    assert_eq!(header(&get(&file).await, "x-huge").len(), 200_000);
    let status = status_url(&sandbox).await;
    sandbox.fault("status:without-header=expires");
    assert_eq!(header(&get(&status).await, "expires"), "");
    sandbox.fault("file:status=202;retry-after=1");
    assert_eq!(get(&file).await.status(), 202);
    sandbox.fault("delete:success=200");
    assert_eq!(http().delete(&status_url(&sandbox).await).send().await.unwrap().status(), 200);
    sandbox.fault("kick-off:success=200");
    let accepted = kick_off(&sandbox, "Patient/$export").send().await.unwrap();
    assert!(accepted.status() == 200 && !header(&accepted, "content-location").is_empty());

    sandbox.fault("file:redirect*always");
    let (mut url, mut seen) = (file.clone(), HashSet::new());
    for _ in 0..20 {
        let answer = standing().get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 307);
        url = reqwest::Url::parse(&url).unwrap().join(header(&answer, "location")).unwrap().into();
        seen.insert(url.clone());
    }
    assert_eq!(seen.len(), 20, "never the same URL twice");
    sandbox.clear_faults();
    sandbox.fault("kick-off:redirect=http://198.51.100.7/elsewhere");
    let url = format!("{}/Patient/$export", sandbox.base_url());
    let answer = standing().get(&url).header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(header(&answer, "location"), "http://198.51.100.7/elsewhere");
    sandbox.fault("file:redirect*3");
    assert_eq!(body(&file).await.unwrap(), sandbox.ndjson(GROUP, "Patient"));
}

#[tokio::test]
async fn floods_a_client_without_growing_itself() {
    let sandbox = start(quick());
    let url = file_url(&manifest(&sandbox).await, "Patient");
    let whole = sandbox.ndjson(GROUP, "Patient");
    sandbox.fault("file:gzip-bomb=50MB");
    assert_eq!(body(&url).await.unwrap(), whole, "waits for who unpacks");
    let bomb = http().get(&url).header("accept-encoding", "gzip").send().await.unwrap().bytes().await.unwrap();
    assert!(bomb.len() < 1_000_000, "{} bytes on the way", bomb.len());
    let unpacked = std::io::copy(&mut GzDecoder::new(&bomb[..]), &mut std::io::sink()).unwrap();
    assert_eq!(unpacked, whole.len() as u64 + 50_000_000);

    sandbox.fault("file:long-line=3MB");
    let long = body(&url).await.unwrap();
    let last = long.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap();
    assert!(last.len() > 3_000_000);
    assert_eq!(serde_json::from_slice::<Value>(last).unwrap()["resourceType"], "Patient");

    for (fault, url) in [("file:endless", url.clone()), ("status:endless-body", status_url(&sandbox).await)] {
        sandbox.fault(fault);
        let mut response = get(&url).await;
        let mut got = 0;
        while got < 20_000_000 {
            got += response.chunk().await.unwrap().expect("it never ends").len();
        }
    }
    let mut rest = Vec::new();
    GzDecoder::new(&bomb[..]).take(10).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, whole[..10]);
}

#[tokio::test]
async fn signed_links_take_no_token_and_run_out() {
    for (switch, first) in [("files=redirect", 307), ("files=signed", 200)] {
        let sandbox = start(with(switch));
        let manifest = manifest(&sandbox).await;
        let url = file_url(&manifest, "Condition");
        let answer = standing().get(&url).send().await.unwrap();
        assert_eq!(answer.status(), first);
        let link = if first == 307 { header(&answer, "location").to_owned() } else { url.clone() };
        assert!(!link.starts_with(&sandbox.base_url()));
        assert_eq!(body(&url).await.unwrap(), sandbox.ndjson(GROUP, "Condition"));
        assert_eq!(http().get(&link).bearer_auth("secret").send().await.unwrap().status(), 400);
        assert_eq!(sandbox.stats().tokens_leaked, 1);
        assert_eq!(get(&link.replace("Condition", "Patient")).await.status(), 403, "another file needs another link");
    }
    for switch in ["", "files=signed "] {
        let sandbox = start(with(&format!("{switch}link-lifetime=1s link-status=404")));
        let status = status_url(&sandbox).await;
        let old = file_url(&json(&status).await, "Patient");
        assert_eq!(get(&old).await.status(), 200);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(get(&old).await.status(), 404);
        assert_eq!(get(&file_url(&json(&status).await, "Patient")).await.status(), 200, "the manifest gives fresh links");
    }
}

#[tokio::test]
async fn too_many_at_once_are_refused() {
    let sandbox = start(with("most-downloads=1 over-downloads=404"));
    let manifest = manifest(&sandbox).await;
    sandbox.fault("file:hold=half@Condition");
    let held = tokio::spawn({
        let url = file_url(&manifest, "Condition");
        async move { body(&url).await }
    });
    sandbox.wait_until(|stats| stats.held == 1).await;
    let patient = file_url(&manifest, "Patient");
    assert_eq!(get(&patient).await.status(), 404);
    sandbox.release();
    held.await.unwrap().unwrap();
    assert_eq!(get(&patient).await.status(), 200);
    assert_eq!(sandbox.stats().crowded, 1);

    let limited = start(with("most-requests=2/1h"));
    let url = format!("{}/metadata", limited.base_url());
    let statuses = [get(&url).await.status(), get(&url).await.status()];
    assert_eq!(statuses, [StatusCode::OK, StatusCode::OK]);
    let third = get(&url).await;
    assert_eq!(third.status(), 429);
    assert!(header(&third, "retry-after").parse::<u64>().unwrap() > 3_000);
}

#[tokio::test]
async fn status_may_come_apart_from_the_http_status() {
    let sandbox = start(SandboxConfig { export_time: Duration::from_hours(1), ..with("separate-export-status") });
    let waiting = get(&status_url(&sandbox).await).await;
    assert_eq!((waiting.status().as_u16(), header(&waiting, "x-export-status")), (200, "202 Accepted"));
    let sandbox = start(with("separate-export-status delete-status=204"));
    let status = status_url(&sandbox).await;
    let done = get(&status).await;
    assert_eq!((done.status().as_u16(), header(&done, "x-export-status")), (200, "200 OK"));
    assert_eq!(http().delete(&status).send().await.unwrap().status(), 204);
}

/// Each row of the table "What each HTTP status means", in each phase.
#[tokio::test]
async fn every_status_can_be_played_in_every_phase() {
    let sandbox = start(quick());
    let base = sandbox.base_url();
    let status = status_url(&sandbox).await;
    let file = file_url(&json(&status).await, "Patient");
    let phases = [
        ("kick-off", "GET", format!("{base}/Patient/$export")),
        ("status", "GET", status.clone()),
        ("file", "GET", file),
        ("delete", "DELETE", status),
        ("token", "POST", sandbox.token_url()),
        ("search", "GET", format!("{base}/Condition")),
        ("metadata", "GET", format!("{base}/metadata")),
        ("discovery", "GET", format!("{base}/.well-known/smart-configuration")),
    ];
    let statuses = [200, 202, 301, 307, 400, 401, 403, 404, 406, 410, 413, 415, 422, 429, 500, 502, 503, 504];
    for (phase, method, url) in &phases {
        for code in statuses {
            for form in ["status", "html", "bare"] {
                sandbox.fault(format!("{phase}:{form}={code}").as_str());
                let answer = standing().request(method.parse().unwrap(), url).send().await.unwrap();
                assert_eq!(answer.status(), code, "{phase}:{form}");
            }
        }
    }
    assert_eq!(sandbox.stats().faults, (phases.len() * statuses.len() * 3) as u64);
}
