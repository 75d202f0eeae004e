//! Each filter and its opposite finds exactly what SQL by hand finds, and the page counts it.

use uuid::Uuid;

use super::Site;

/// What is shown on the pages from this one on, page by page.
async fn all(site: &Site, address: &str) -> Vec<Uuid> {
    let mut found = Vec::new();
    let mut next = address.to_owned();
    loop {
        let got = site.get(&next).await;
        assert_eq!(got.status, 200, "{next}: {}", got.html);
        found.extend(got.rows());
        match got.links().iter().find(|link| link.contains("after=")) {
            Some(older) => next.clone_from(older),
            None => return found,
        }
    }
}

const RUNNING: &str = "('authenticating', 'kicking_off', 'in_progress', 'downloading', 'loading')";

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_and_its_opposite_finds_what_sql_by_hand_finds() {
    let site = Site::open().await;
    site.fill().await;
    let some = site.ids("SELECT id FROM bulkhead.exports ORDER BY created_at LIMIT 1").await[0].to_string();
    let beginning = &some[..3];
    let by_id = format!("e.id::text LIKE '{beginning}%'");
    let by_text_id = format!("e.id::text LIKE '{some}%'");
    let (day, days) = ("(now() AT TIME ZONE 'UTC')::date - 12", "(now() AT TIME ZONE 'UTC')::date - 5");
    let dates: (String, String) = sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT ({day})::text, ({days})::text")))
        .fetch_one(site.pool())
        .await
        .expect("two days");
    let period = format!("e.created_at >= '{}T00:00Z' AND e.created_at < '{}T00:00Z'::timestamptz + interval '1 day'", dates.0, dates.1);
    let cases: Vec<(String, &str, String)> = vec![
        ("state=failed".into(), "state", "e.state = 'failed'".into()),
        ("state=failed&state=queued".into(), "state", "e.state IN ('failed', 'queued')".into()),
        ("state=running".into(), "state", format!("e.state IN {RUNNING}")),
        ("source=http://one.example/fhir/".into(), "source", "s.base_url = 'http://one.example/fhir'".into()),
        ("source=http://nowhere.example/fhir".into(), "source", "s.base_url = 'http://nowhere.example/fhir'".into()),
        ("group=Group-3".into(), "group", "coalesce(e.group_id = 'Group-3', false)".into()),
        ("type=Condition".into(), "type", "(e.resource_types = '{}' OR 'Condition' = ANY(e.resource_types))".into()),
        ("reason=incomplete".into(), "reason", "coalesce(e.failure_reason = 'incomplete', false)".into()),
        (format!("from={}&to={}", dates.0, dates.1), "submitted", format!("({period})")),
        ("ended=7d".into(), "ended", "coalesce(e.finished_at > now() - interval '7 days', false)".into()),
        (format!("id={beginning}"), "id", by_id),
        ("id=nothing".into(), "id", "false".into()),
        ("q=oup-3".into(), "q", "coalesce(e.group_id LIKE '%oup-3%', false)".into()),
        ("q=TWO.example".into(), "q", "s.base_url LIKE '%two.example%'".into()),
        (format!("q={some}"), "q", by_text_id),
        ("q=%25_%27".into(), "q", "false".into()),
    ];
    for (query, field, sql) in &cases {
        for not in [false, true] {
            let address = if not { format!("/exports?{query}&not={field}") } else { format!("/exports?{query}") };
            let sql = format!(
                "SELECT e.id FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
                  WHERE {} ({sql}) ORDER BY e.created_at DESC, e.id DESC",
                if not { "NOT" } else { "" }
            );
            let expected = site.ids(&sql).await;
            assert_eq!(all(&site, &address).await, expected, "{address}");
            let html = site.get(&address).await.html;
            let shown = format!("Showing {} of {}", expected.len().min(50), expected.len());
            assert!(expected.is_empty() || html.contains(&shown), "{address}: {shown}");
        }
        assert!(
            site.number(&format!("SELECT count(*) FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id WHERE {sql}"))
                .await
                < 180
        );
    }

    let both = "/exports?state=failed&reason=incomplete&not=reason&q=group&type=Condition";
    let expected = "SELECT id FROM bulkhead.exports WHERE state = 'failed' AND failure_reason <> 'incomplete' AND group_id LIKE 'Group%'
                       AND (resource_types = '{}' OR 'Condition' = ANY(resource_types)) ORDER BY created_at DESC";
    assert_eq!(all(&site, both).await, site.ids(expected).await, "all hold together");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_and_what_is_being_deleted_are_in_no_list_and_no_count() {
    let site = Site::open().await;
    site.fill().await;
    site.sql("UPDATE bulkhead.exports SET delete_requested_at = now() WHERE state = 'failed'").await;
    site.sql("UPDATE bulkhead.exports SET purpose = 'check' WHERE state = 'queued'").await;
    let html = site.get("/exports").await.html;
    assert!(html.contains("Showing 50 of 140"), "180 without 20 failed and 20 queued");
    assert!(all(&site, "/exports?state=failed&state=queued").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_as_it_is_leads_to_an_address_in_one_spelling() {
    let site = Site::open().await;
    let got = site.get("/exports?q=&state=failed&not=q&source=&group=&type=&reason=&from=&to=&ended=24h&id=").await;
    assert_eq!((got.status, got.location.as_str()), (303, "/exports?state=failed&ended=24h"));
    assert_eq!(site.get("/exports?state=failed&ended=24h").await.status, 200);
    for wrong in ["stat=failed", "state=everything", "not=everything", "from=yesterday", "ended=soon", "after=here"] {
        let got = site.get(&format!("/exports?{wrong}")).await;
        assert_eq!(got.status, 400, "{wrong}");
        assert!(!got.html.contains("<table"), "{wrong}: what is not understood shows nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_the_states_are_those_of_the_other_filters() {
    let site = Site::open().await;
    site.fill().await;
    let html = site.get("/exports?state=failed&q=Group-3").await.html;
    for (word, states) in [("queued", "('queued')"), ("running", RUNNING), ("failed", "('failed')"), ("completed", "('completed')")] {
        let n = site.number(&format!("SELECT count(*) FROM bulkhead.exports WHERE group_id = 'Group-3' AND state IN {states}")).await;
        let chip = html.split(&format!("id=\"state-{word}\"")).nth(1).and_then(|rest| rest.split("</label>").next()).expect("a chip");
        assert!(chip.contains(&format!("<b>{n}</b>")), "{word}: {n} in {chip}");
        assert_eq!(chip.contains(" checked"), word == "failed", "{word}");
    }
}
