//! The pages of accounts, tokens, users and the audit log.

use bulkhead_shared::domain::role::Role;
use bulkhead_tests::house::{House, PASSWORD};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn people_see_their_own_browsers_and_end_them() {
    let house = House::start().await;
    let (ann, ben) = (house.user("ann", Role::Viewer).await, house.user("ben", Role::Viewer).await);
    let (here, there, elsewhere, bens) =
        (house.browser(&ann).await, house.browser(&ann).await, house.browser(&ann).await, house.browser(&ben).await);
    let page = house.get(&here, "/account").await.text;
    assert_eq!(page.matches("Firefox on Linux").count(), 3, "{page}");
    assert_eq!(page.matches("192.0.2.7").count(), 3);
    assert_eq!(page.matches("This browser").count(), 1);
    let session = page.split("/account/sessions/").nth(1).and_then(|rest| rest.split('/').next()).expect("a session to end").to_owned();
    let told = house.post(&here, &format!("/account/sessions/{session}/revoke"), &[]).await;
    assert_eq!(told.location, "/account?done=session-revoked");
    assert!(house.get(&here, &told.location).await.text.contains("That browser is logged out."));
    let mut left = 0;
    for browser in [&there, &elsewhere] {
        left += usize::from(house.get(browser, "/exports").await.status == 200);
    }
    assert_eq!(left, 1, "one of the two is out at once");
    assert_eq!(house.post(&here, "/account/sessions/others", &[]).await.location, "/account?done=sessions-revoked&n=1");
    // Not somebody else's, by whatever id.
    let id: Uuid = sqlx::query_scalar("SELECT id FROM bulkhead.sessions WHERE user_id = $1")
        .bind(ben.id)
        .fetch_one(&house.state.pool)
        .await
        .expect("it");
    assert_eq!(house.post(&here, &format!("/account/sessions/{id}/revoke"), &[]).await.location, "/account?failed=no-session");
    assert_eq!(house.get(&bens, "/exports").await.status, 200);
    assert_eq!(house.get(&here, "/exports").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_who_knows_it_and_the_other_browsers_are_out() {
    let house = House::start().await;
    let ann = house.user("ann", Role::Viewer).await;
    let (here, there) = (house.browser(&ann).await, house.browser(&ann).await);
    let change = async |old: &str, new: &str, again: &str| {
        let fields = [("old", old), ("new", new), ("again", again)];
        house.post(&here, "/account/password", &fields).await.location
    };
    assert_eq!(change("wrong wrong wrong", "five words in one row", "five words in one row").await, "/account?failed=password-wrong");
    assert_eq!(change(PASSWORD, "five words in one row", "five words in two rows").await, "/account?failed=password-differs");
    assert_eq!(change(PASSWORD, "short", "short").await, "/account?failed=password-short");
    assert_eq!(house.get(&there, "/exports").await.status, 200, "nothing was changed");
    assert_eq!(change(PASSWORD, "five words in one row", "five words in one row").await, "/account?done=password-changed");
    assert_eq!(house.get(&there, "/exports").await.status, 303);
    assert_eq!(house.get(&here, "/exports").await.status, 200);
    for _ in 0..10 {
        change(PASSWORD, "x", "x").await;
    }
    assert_eq!(
        change("five words in one row", "x", "x").await,
        "/account?failed=password-wait",
        "a borrowed session does not help to guess"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_works_and_is_revoked() {
    let house = House::start().await;
    let (ann, ben) = (house.user("ann", Role::Operator).await, house.user("ben", Role::Operator).await);
    let (anns, bens) = (house.browser(&ann).await, house.browser(&ben).await);
    let fields = [("name", "nightly"), ("role", "viewer"), ("days", "30")];
    let made = house.post(&anns, "/tokens", &fields).await;
    let token = made.secret();
    assert!(made.status == 200 && token.starts_with("bulkhead_") && token.len() == 52, "{token}");
    assert!(!house.get(&anns, "/tokens").await.text.contains(&token), "it is shown again");
    let bearer = format!("Bearer {token}");
    let look = async || house.ask(Method::GET, &house.api, "/api/bulk-data/jobs", &[("authorization", &bearer)], None).await.status;
    assert_eq!(look().await, 200);
    let again = house.post(&anns, "/tokens", &fields).await;
    assert!(again.status == 422 && again.text.contains("There is one of this name already") && again.text.contains("value=\"nightly\""));
    let much = house.post(&anns, "/tokens", &[("name", "x"), ("role", "admin"), ("days", "30")]).await;
    assert!(much.status == 422 && much.text.contains("may not do more than who makes it"), "{much:?}");
    for fields in [[("name", "x"), ("role", "viewer"), ("days", "31")], [("name", "x"), ("role", "king"), ("days", "30")]] {
        assert_eq!(house.post(&anns, "/tokens", &fields).await.status, 400, "{fields:?}");
    }
    let id: Uuid = sqlx::query_scalar("SELECT id FROM bulkhead.api_tokens").fetch_one(&house.state.pool).await.expect("one");
    let revoke = format!("/tokens/{id}/revoke");
    assert!(!house.get(&bens, "/tokens").await.text.contains("nightly"), "others' tokens are an admin's to see");
    assert_eq!(house.post(&bens, &revoke, &[]).await.location, "/tokens?failed=no-token");
    assert_eq!(look().await, 200);
    assert_eq!(house.post(&anns, &revoke, &[]).await.location, "/tokens?done=token-revoked");
    assert_eq!(look().await, 401);
    // A token makes no tokens: who has lost one has lost no more than it.
    let admin = house.user("root", Role::Admin).await;
    let bearer = format!("Bearer {}", house.token("t", &admin).await.expose_secret());
    let tried = house.ask(Method::POST, &house.pages, "/tokens", &[("authorization", &bearer)], Some(&fields)).await;
    assert_eq!(tried.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_adds_changes_and_disables_users_and_all_of_it_stands_in_the_audit_log() {
    let house = House::start().await;
    let root = house.user("root", Role::Admin).await;
    let admin = house.browser(&root).await;
    let added = house.post(&admin, "/users", &[("name", " ann "), ("role", "viewer")]).await;
    let first = added.secret();
    assert_eq!(house.post(&admin, "/users", &[("name", "Ann"), ("role", "viewer")]).await.status, 422, "there is one");
    let log_in = async |password: &str| {
        house.ask(Method::POST, &house.pages, "/login", &[], Some(&[("name", "ann"), ("password", password)])).await.status
    };
    assert_eq!(log_in(&first).await, 303);
    let ann = house.known("ann").await;
    let path = |rest: &str| format!("/users/{}{rest}", ann.id);
    let back = |word: &str| format!("{}?done={word}", path(""));
    let (hers, token) = (house.browser(&ann).await, format!("Bearer {}", house.token("t", &ann).await.expose_secret()));
    let page = house.get(&admin, &path("")).await.text;
    assert!(page.contains("Firefox on Linux") && page.contains("<b>t</b>"), "her browsers and tokens: {page}");

    assert_eq!(house.post(&admin, &path("/role"), &[("role", "operator")]).await.location, back("role-changed"));
    let retry = format!("/api/bulk-data/jobs/{}/retry", Uuid::new_v4());
    let headers = [("cookie", hers.cookie.as_str()), ("x-csrf-token", hers.csrf.as_str())];
    assert_eq!(house.ask(Method::POST, &house.pages, &retry, &headers, None).await.status, 404, "she may now");
    assert_eq!(house.post(&admin, &path("/log-out"), &[]).await.location, back("logged-out"));
    assert_eq!(house.get(&hers, "/exports").await.status, 303, "out at once");
    let second = house.post(&admin, &path("/password"), &[]).await.secret();
    assert_ne!(first, second);
    assert_eq!((log_in(&first).await, log_in(&second).await), (403, 303));

    let hers = house.browser(&ann).await;
    assert_eq!(house.post(&admin, &path("/disable"), &[]).await.location, back("user-disabled"));
    assert_eq!(house.get(&hers, "/exports").await.status, 303);
    let look = async || house.ask(Method::GET, &house.api, "/api/bulk-data/jobs", &[("authorization", &token)], None).await.status;
    assert_eq!((look().await, log_in(&second).await), (401, 403));
    assert_eq!(house.post(&admin, &path("/enable"), &[]).await.location, back("user-enabled"));
    assert_eq!((look().await, log_in(&second).await), (200, 303));
    let own = format!("/users/{}", root.id);
    for act in ["/disable", "/role"] {
        assert_eq!(house.post(&admin, &format!("{own}{act}"), &[("role", "viewer")]).await.location, format!("{own}?failed=last-admin"));
    }
    assert_eq!(house.get(&admin, &format!("/users/{}", Uuid::new_v4())).await.status, 404);

    let acts = house.acts().await;
    assert_eq!(
        acts,
        [
            "user_added",
            "user_added",
            "logged_in",
            "token_added",
            "role_changed",
            "session_revoked",
            "password_changed",
            "login_failed",
            "logged_in",
            "user_disabled",
            "login_failed",
            "user_enabled",
            "logged_in"
        ]
    );
    let log = house.get(&admin, "/audit").await.text;
    for sentence in [
        "changed the role of <b>ann</b> from Viewer to Operator",
        "disabled <b>ann</b>",
        "set a new password for <b>ann</b>",
        "from <span class=\"mono\">127.0.0.1</span>",
    ] {
        assert!(log.contains(sentence), "{sentence}: {log}");
    }
    assert!(!log.contains(&first) && !log.contains(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered_and_read_page_by_page_in_both_languages() {
    let house = House::start().await;
    let root = house.user("root", Role::Admin).await;
    let admin = house.browser(&root).await;
    house
        .sql(
            "INSERT INTO bulkhead.audit_log (at, actor_kind, actor, act, object_kind, object)
             SELECT timestamptz '2026-03-01 12:00Z' + n * interval '1 hour', 'user', CASE n % 2 WHEN 0 THEN 'ann' ELSE 'ben' END,
                    CASE n % 3 WHEN 0 THEN 'export_retried' ELSE 'export_cancelled' END, 'export',
                    '00000000-0000-4000-8000-' || lpad(n::text, 12, '0') FROM generate_series(1, 120) n",
        )
        .await;
    let rows = |page: &str| page.matches("<span class=\"mono\"").count() + page.matches("export <a").count() * 1000;
    let read = async |query: &str| house.get(&admin, &format!("/audit{query}")).await.text;
    let mut seen = std::collections::BTreeSet::new();
    let mut next = Some(String::new());
    let mut pages = 0;
    while let Some(query) = next {
        let page = read(&query).await;
        seen.extend(page.split("href=\"/exports/").skip(1).map(|rest| rest[..36].to_owned()));
        next = page
            .split("href=\"/audit")
            .find(|rest| rest.contains("rel=\"next\"") && rest.starts_with('?'))
            .and_then(|rest| rest.split('"').next())
            .map(|query| query.replace("&amp;", "&").replace("&#38;", "&"));
        pages += 1;
    }
    assert_eq!((seen.len(), pages), (120, 3), "each entry on one page");
    for (query, expected) in [
        ("?actor=ANN&act=export_retried", 20),
        ("?object=00000000-0000-4000-8000-000000000007", 1),
        ("?from=2026-03-02&to=2026-03-02", 24),
        ("?from=2026-03-06", 12 + 1),
        ("?actor=nobody+of+that+name", 0),
    ] {
        assert_eq!(rows(&read(query).await) / 1000, expected, "{query}");
    }
    assert!(read("?actor=nobody+of+that+name").await.contains("No entry matches this filter."));
    let chinese = house
        .ask(
            Method::GET,
            &house.pages,
            "/audit?actor=ann",
            &[("cookie", &format!("{}; bulkhead_language=zh", admin.cookie)), ("x", "y")],
            None,
        )
        .await;
    assert!(chinese.text.contains("重试了导出"), "{}", chinese.text);
}
