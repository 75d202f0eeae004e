//! The login as an attacker sees it.

use bulkhead_shared::domain::role::Role;
use bulkhead_tests::house::{House, PASSWORD, client};
use reqwest::{Method, header};

const WRONG: &str = "wrong wrong wrong";

/// A try by the form; status.
async fn log_in(house: &House, name: &str, password: &str, headers: &[(&str, &str)]) -> u16 {
    house.ask(Method::POST, &house.pages, "/login", headers, Some(&[("name", name), ("password", password)])).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_address_does_not_evade_the_limit_and_another_address_is_not_kept_out() {
    let house = House::start().await;
    house.user("ann", Role::Viewer).await;
    for n in 0..10 {
        let forged = format!("198.51.100.{n}");
        assert_eq!(log_in(&house, "ann", WRONG, &[("x-forwarded-for", &forged)]).await, 403);
    }
    assert_eq!(log_in(&house, "ann", PASSWORD, &[("x-forwarded-for", "198.51.100.99")]).await, 429, "whoever says so is not believed");
    // Behind a proxy of ours the same attempts come from there, and ann from elsewhere is let in.
    let mut access = house.state.access.clone();
    access.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    let behind = House::start_with(access).await;
    behind.user("ann", Role::Viewer).await;
    for _ in 0..10 {
        assert_eq!(log_in(&behind, "ann", WRONG, &[("x-forwarded-for", "198.51.100.1")]).await, 403);
    }
    assert_eq!(log_in(&behind, "ann", PASSWORD, &[("x-forwarded-for", "198.51.100.1")]).await, 429);
    assert_eq!(log_in(&behind, "ann", PASSWORD, &[("x-forwarded-for", "198.51.100.2")]).await, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_addresses_together_meet_the_limit_of_the_name_and_many_names_that_of_the_address() {
    let house = House::start().await;
    let mut access = house.state.access.clone();
    access.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    let house = House::start_with(access).await;
    house.user("ann", Role::Viewer).await;
    // As after sixty attempts from six addresses.
    house.sql("INSERT INTO bulkhead.login_limits SELECT 'name', sha256('ann'), clock_timestamp() + interval '600 s'").await;
    assert_eq!(log_in(&house, "Ann", PASSWORD, &[("x-forwarded-for", "198.51.100.1")]).await, 429);
    house.sql("DELETE FROM bulkhead.login_limits").await;
    house.sql("INSERT INTO bulkhead.login_limits SELECT 'address', sha256('198.51.100.1'), clock_timestamp() + interval '200 s'").await;
    assert_eq!(log_in(&house, "ann", PASSWORD, &[("x-forwarded-for", "198.51.100.1")]).await, 429);
    assert_eq!(log_in(&house, "ann", PASSWORD, &[("x-forwarded-for", "198.51.100.2")]).await, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_can_neither_log_in_nor_out() {
    let house = House::start().await;
    let ann = house.user("ann", Role::Viewer).await;
    let browser = house.browser(&ann).await;
    for foreign in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")]
    {
        assert_eq!(log_in(&house, "ann", PASSWORD, &[foreign]).await, 403, "{foreign:?}");
        let headers = [("cookie", browser.cookie.as_str()), foreign];
        let fields = [("csrf", browser.csrf.as_str())];
        assert_eq!(house.ask(Method::POST, &house.pages, "/logout", &headers, Some(&fields)).await.status, 403, "{foreign:?}");
    }
    assert_eq!(house.get(&browser, "/exports").await.status, 200, "still in");
    // A browser says `Origin: null` of our own forms if the page forbids it to name itself.
    let policy = client().get(format!("{}/login", house.pages)).send().await.expect("a page");
    assert_eq!(policy.headers()[header::REFERRER_POLICY], "same-origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_is_a_new_session_and_the_browsers_old_one_ends() {
    let house = House::start().await;
    let ann = house.user("ann", Role::Viewer).await;
    let planted = house.browser(&ann).await;
    let sent = client()
        .post(format!("{}/login", house.pages))
        .header("cookie", &planted.cookie)
        .header("x-forwarded-proto", "https")
        .form(&[("name", "ann"), ("password", PASSWORD)])
        .send()
        .await
        .expect("an answer");
    let set = sent.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
    assert!(set.starts_with("__Host-bulkhead_session=") && set.contains("; Secure") && set.contains("; HttpOnly"), "{set}");
    let sent = client()
        .post(format!("{}/login", house.pages))
        .header("cookie", &planted.cookie)
        .form(&[("name", "ann"), ("password", PASSWORD)])
        .send()
        .await
        .expect("an answer");
    let set = sent.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
    assert!(!set.contains(&planted.cookie), "the cookie is a new one");
    assert_eq!(house.get(&planted, "/exports").await.status, 303, "the old one opens nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_to_pages_of_ours_only() {
    let house = House::start().await;
    house.user("ann", Role::Viewer).await;
    for (back, expected) in
        [("/exports?state=failed", "/exports?state=failed"), ("/\t/evil.example", "/"), ("/\\evil.example", "/"), ("//evil.example", "/")]
    {
        let fields = [("name", "ann"), ("password", PASSWORD), ("back", back)];
        let sent = house.ask(Method::POST, &house.pages, "/login", &[], Some(&fields)).await;
        assert_eq!((sent.status, sent.location.as_str()), (303, expected), "{back:?}");
        let query: String = reqwest::Url::parse_with_params("http://x/language/zh", [("back", back)])
            .expect("a URL")
            .query()
            .unwrap_or_default()
            .to_owned();
        let sent = house.ask(Method::GET, &house.pages, &format!("/language/zh?{query}"), &[], None).await;
        assert_eq!(sent.location, expected, "{back:?}");
    }
}
