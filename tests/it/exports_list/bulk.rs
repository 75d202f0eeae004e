//! The same done to many: the selected ones, or all that match. First it is said what will happen to how many; then it happens to those.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_shared::domain::role::Role;
use uuid::Uuid;

use super::{Got, Site};

const ACT: &str = "/exports/act";

/// The page that says what will happen, confirmed.
async fn confirmed(site: &Site, query: &str, typed: Option<&str>) -> (i64, Got) {
    let asked = site.get(&format!("{ACT}?{query}")).await;
    assert_eq!(asked.status, 200, "{}", asked.html);
    let count = asked.count("count").expect("a count");
    let mut form = asked.form(ACT);
    form.extend(typed.map(|typed| ("typed".to_owned(), typed.to_owned())));
    let done = site.post(ACT, &form).await;
    (count, done)
}

fn chosen(act: &str, ids: &[Uuid]) -> String {
    ids.iter().fold(format!("act={act}"), |query, id| format!("{query}&export={id}"))
}

async fn audited(site: &Site, act: &str) -> i64 {
    site.number(&format!("SELECT count(DISTINCT object) FROM bulkhead.audit_log WHERE act = '{act}'")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_selected_are_retried_cancelled_accepted_and_deleted_and_those_that_cannot_be_are_told_why() {
    let site = Site::of(Role::Operator).await;
    site.fill().await;
    let of =
        async |condition: &str| site.ids(&format!("SELECT id FROM bulkhead.exports WHERE {condition} ORDER BY created_at LIMIT 2")).await;

    let (failed, completed) = (of("state = 'failed' AND failure_reason = 'unreachable'").await, of("state = 'completed'").await);
    let (count, done) = confirmed(&site, &chosen("retry", &[failed.clone(), completed.clone()].concat()), None).await;
    assert_eq!((count, done.status, done.count("done"), done.count("refused")), (2, 200, Some(2), Some(2)), "{}", done.html);
    assert!(done.html.contains("Only a failed export can be retried; it was: Completed."), "why");
    assert_eq!(
        site.number(&format!("SELECT count(*) FROM bulkhead.exports WHERE state = 'queued' AND id IN ('{}', '{}')", failed[0], failed[1]))
            .await,
        2
    );
    assert_eq!(audited(&site, "export_retried").await, 2, "each with its line in the audit log, and nobody else");

    let incomplete = of("failure_reason = 'incomplete'").await;
    let others = of("failure_reason = 'credentials'").await;
    let (count, done) = confirmed(&site, &chosen("accept", &[incomplete.clone(), others].concat()), None).await;
    assert_eq!((count, done.count("done"), done.count("refused")), (2, Some(2), Some(2)));
    assert!(
        site.number(&format!("SELECT count(*) FROM bulkhead.exports WHERE accepted_at IS NOT NULL AND id = '{}'", incomplete[0])).await
            == 1
    );

    let loading = of("state = 'loading'").await;
    let (count, done) =
        confirmed(&site, &chosen("cancel", &[loading.clone(), completed.clone(), of("state = 'cancelled'").await].concat()), None).await;
    assert_eq!((count, done.count("done"), done.count("refused")), (2, Some(2), Some(4)));
    assert!(done.html.contains("It had ended already: Cancelled."));

    let (count, done) = confirmed(&site, &chosen("delete", &[completed[0], loading[0]]), None).await;
    assert_eq!((count, done.count("done"), done.count("refused")), (2, Some(2), None));
    assert_eq!(site.number("SELECT count(*) FROM bulkhead.exports WHERE delete_requested_at IS NOT NULL").await, 2);
    let (count, again) = {
        let asked = site.get(&format!("{ACT}?{}", chosen("delete", &completed[..1]))).await;
        (asked.html.contains("they are gone already"), site.post(ACT, &asked.form(ACT)).await)
    };
    assert!(count, "what is being deleted is not deleted again");
    assert!(again.html.contains("There is no such export any more."));
    for act in ["export_accepted", "export_cancelled", "export_deleted"] {
        assert_eq!(audited(&site, act).await, 2, "{act}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_match_are_worked_on_as_many_as_were_confirmed_and_none_that_came_later() {
    let site = Site::of(Role::Operator).await;
    site.fill().await;
    let failed = "SELECT count(*) FROM bulkhead.exports WHERE state = 'failed' AND source_id IN (SELECT id FROM bulkhead.sources WHERE base_url = 'http://one.example/fhir')";
    let wanted = site.number(failed).await;
    let query = "act=retry&all=1&source=http://one.example/fhir&state=failed&state=queued";
    let asked = site.get(&format!("{ACT}?{query}")).await;
    assert_eq!(asked.count("count"), Some(wanted));
    let queued = site.number("SELECT count(*) FROM bulkhead.exports WHERE state = 'queued' AND source_id IN (SELECT id FROM bulkhead.sources WHERE base_url = 'http://one.example/fhir')").await;
    assert!(asked.html.contains(&format!("{queued} others stay as they are.")), "{}", asked.html);
    // One more fails meanwhile, and is not meant.
    site.sql(
        "UPDATE bulkhead.exports SET state = 'failed', failed_from = 'queued', failure_stage = 'auth', failure_reason = 'expired', failure_remedy = '', finished_at = clock_timestamp()
          WHERE id = (SELECT e.id FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id WHERE e.state = 'queued' AND s.base_url = 'http://one.example/fhir' LIMIT 1)",
    )
    .await;
    let done = site.post(ACT, &asked.form(ACT)).await;
    assert_eq!((done.count("done"), done.count("refused")), (Some(wanted), None), "{}", done.html);
    assert_eq!(site.number(failed).await, 1, "the one that failed meanwhile");
    assert_eq!(audited(&site, "export_retried").await, wanted);
    assert!(done.links().iter().any(|link| link.starts_with("/exports?") && link.contains("state=failed")), "back to the list");

    let live = site.number("SELECT count(*) FROM bulkhead.exports WHERE state NOT IN ('completed', 'cancelled')").await;
    let (count, done) = confirmed(&site, "act=cancel&all=1", None).await;
    assert_eq!((count, done.count("done")), (live, Some(live)), "more than one batch");
    assert_eq!(site.number("SELECT count(*) FROM bulkhead.exports WHERE state NOT IN ('completed', 'cancelled')").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_too_long_goes_on_where_it_stopped_and_ends_at_what_was_confirmed() {
    let site = Site::of(Role::Operator).await;
    site.fill().await;
    let asked = site.get(&format!("{ACT}?act=cancel&all=1&state=failed")).await;
    assert_eq!(asked.count("count"), Some(20));
    let with = |count: &str, more: &[(&str, &str)]| {
        let mut form: Vec<(String, String)> = asked.form(ACT).into_iter().filter(|(name, _)| name != "count").collect();
        form.extend([("count", count)].iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        form
    };
    let left = "SELECT count(*) FROM bulkhead.exports WHERE state = 'failed'";
    let done = site.post(ACT, &with("3", &[])).await;
    assert_eq!((done.count("done"), site.number(left).await), (Some(3), 17), "no more than confirmed");
    let (at, id): (chrono::DateTime<chrono::Utc>, Uuid) =
        sqlx::query_as("SELECT created_at, id FROM bulkhead.exports WHERE state = 'failed' ORDER BY created_at DESC OFFSET 4 LIMIT 1")
            .fetch_one(site.pool())
            .await
            .expect("a place");
    let place = URL_SAFE_NO_PAD.encode([&at.timestamp_micros().to_be_bytes()[..], id.as_bytes()].concat());
    let done = site.post(ACT, &with("20", &[("done_before", "10"), ("below", &place)])).await;
    assert_eq!((done.count("done"), site.number(left).await), (Some(10), 7), "ten of twenty were done before");
    let above = format!(
        "SELECT count(*) FROM bulkhead.exports WHERE state = 'failed' AND created_at >= (SELECT created_at FROM bulkhead.exports WHERE id = '{id}')"
    );
    assert_eq!(site.number(&above).await, 5, "what is above the place was not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_that_ask_the_same_one_is_retried_and_the_others_are_told() {
    let site = Site::open().await;
    site.fill().await;
    site.sql("UPDATE bulkhead.exports SET same_as = 'same' WHERE state = 'failed'").await;
    let (count, done) = confirmed(&site, "act=retry&all=1&state=failed", None).await;
    assert_eq!((count, done.count("done"), done.count("refused")), (20, Some(1), Some(19)), "{}", done.html);
    let running = site.ids("SELECT id FROM bulkhead.exports WHERE same_as = 'same' AND state <> 'failed'").await;
    assert!(
        done.html.contains("Another export that asks the same is running.") && done.links().contains(&format!("/exports/{}", running[0]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_many_wants_their_number_typed_and_says_that_rows_go_too() {
    let site = Site::of(Role::Operator).await;
    site.fill().await;
    let query = "act=delete&all=1&state=running";
    let asked = site.get(&format!("{ACT}?{query}")).await;
    assert!(asked.html.contains("100 exports will be deleted.") && asked.html.contains("Their rows in the tables"), "{}", asked.html);
    for typed in [None, Some("99"), Some("")] {
        let (_, done) = confirmed(&site, query, typed).await;
        assert_eq!(done.status, 422, "{typed:?}");
        assert!(done.html.contains("This is not the number of exports"), "{typed:?}");
    }
    assert_eq!(site.number("SELECT count(*) FROM bulkhead.exports WHERE delete_requested_at IS NOT NULL").await, 0);
    let (count, done) = confirmed(&site, query, Some("100")).await;
    assert_eq!((count, done.status, done.count("done")), (100, 200, Some(100)));
    assert_eq!(site.number("SELECT count(*) FROM bulkhead.exports WHERE delete_requested_at IS NOT NULL").await, 100);
    let (count, done) = confirmed(&site, "act=delete&all=1&state=failed", None).await;
    assert_eq!((count, done.count("done")), (20, Some(20)), "20 are few enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_not_nor_may_a_form_without_its_token_and_nothing_selected_is_said() {
    let viewer = Site::of(Role::Viewer).await;
    viewer.fill().await;
    let one = viewer.ids("SELECT id FROM bulkhead.exports WHERE state = 'failed' LIMIT 1").await;
    let csrf = viewer.get("/exports").await.form("/logout");
    let retry = |id: Uuid| vec![("act".to_owned(), "retry".to_owned()), ("export".to_owned(), id.to_string())];
    assert_eq!(viewer.get(&format!("{ACT}?{}", chosen("retry", &one))).await.status, 403);
    assert_eq!(viewer.post(ACT, &[retry(one[0]), csrf].concat()).await.status, 403);

    let operator = Site::of(Role::Operator).await;
    operator.fill().await;
    let one = operator.ids("SELECT id FROM bulkhead.exports WHERE state = 'failed' LIMIT 1").await;
    let refused = operator.post(ACT, &retry(one[0])).await;
    assert_eq!(refused.status, 403, "no token");
    let forged = [retry(one[0]), vec![("csrf".to_owned(), "another".to_owned())]].concat();
    assert_eq!(operator.post(ACT, &forged).await.status, 403);
    for site in [&viewer, &operator] {
        assert_eq!(site.number("SELECT count(*) FROM bulkhead.exports WHERE state = 'failed'").await, 20, "nothing was done");
        assert_eq!(audited(site, "export_retried").await, 0);
    }

    let nothing = operator.get(&format!("{ACT}?act=retry&state=failed")).await;
    assert_eq!((nothing.status, nothing.location.as_str()), (303, "/exports?state=failed&failed=nothing_selected"));
    assert!(operator.get(&nothing.location).await.html.contains("Nothing was selected."));
    assert_eq!(
        operator.get(ACT).await.location,
        "/exports?failed=nothing_selected",
        "where a change of the language leads from the result"
    );
}
