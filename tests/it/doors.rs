//! Every door, both faces: who lacks its role is refused, whatever they come with; who has it passes.

use bulkhead_api::{
    Access, ApiAuth,
    access::{
        Caller, Needs, Session, Surface,
        accounts::{self, TokenWanted},
        still_valid,
    },
};
use bulkhead_shared::domain::{
    audit::{Actor, ActorKind},
    role::Role,
};
use bulkhead_tests::house::House;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

/// A door's address with something in place of its parameters.
fn filled(path: &str) -> String {
    path.split('/')
        .map(|part| match part {
            "{resource_type}" => "Patient",
            "{chart}" => "types",
            "{word}" | "{file}" => "en",
            part if part.starts_with('{') => "00000000-0000-0000-0000-000000000000",
            part => part,
        })
        .collect::<Vec<_>>()
        .join("/")
}

/// The doors as a browser finds them: on the pages' port there are both tables.
fn doors(house: &House) -> Vec<(String, Needs, Method, String, bool)> {
    let mut all = Vec::new();
    for (surface, needs, method, path) in bulkhead_api::doors() {
        if surface == Surface::Api {
            all.push((house.api.clone(), needs, method.clone(), filled(path), false));
        }
        let is_page = surface == Surface::Pages;
        all.push((house.pages.clone(), needs, method, filled(path), is_page));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_refuses_whoever_lacks_its_role() {
    let house = House::start().await;
    let mut people = Vec::new();
    for role in Role::ALL {
        let user = house.user(role.as_str(), *role).await;
        let token = format!("Bearer {}", house.token("t", &user).await.expose_secret());
        people.push((*role, house.browser(&user).await, token));
    }
    let (mut refused, mut passed) = (0, 0);
    for (base, needs, method, path, is_page) in doors(&house) {
        let what = format!("{method} {base}{path}");
        let form = (is_page && method == Method::POST).then_some(&[][..]);
        let stranger = house.ask(method.clone(), &base, &path, &[], form).await;
        let Needs::Role(needed) = needs else {
            assert!(!matches!(stranger.status, 401 | 500..), "{what}: everybody may: {stranger:?}");
            continue;
        };
        if is_page && stranger.status == 303 {
            assert!(stranger.location.starts_with("/login"), "{what}: {stranger:?}");
        } else {
            assert_eq!(stranger.status, 401, "{what}: {stranger:?}");
        }
        for (role, browser, token) in &people {
            let cookie = [("cookie", browser.cookie.as_str()), ("x-csrf-token", browser.csrf.as_str())];
            let bearer = [("authorization", token.as_str())];
            for headers in [&cookie[..], &bearer[..]] {
                // Who may log out and does is out: another test's matter.
                if role.may(needed) && path == "/logout" {
                    continue;
                }
                let answer = house.ask(method.clone(), &base, &path, headers, form).await;
                let forbidden = answer.status == 403;
                assert_eq!(forbidden, !role.may(needed), "{what} as {role}: {answer:?}");
                assert!(!matches!(answer.status, 401 | 500..) && !answer.location.starts_with("/login"), "{what} as {role}: {answer:?}");
                *(if forbidden { &mut refused } else { &mut passed }) += 1;
            }
            if method != Method::GET {
                let forged = house.ask(method.clone(), &base, &path, &cookie[..1], form).await;
                assert_eq!(forged.status, 403, "{what} as {role} without the token of the page: {forged:?}");
                refused += usize::from(!role.may(needed));
            }
        }
    }
    assert!(refused > 30 && passed > 100, "{refused} refused, {passed} passed: the tables were not walked");
    let noted = house.acts().await.iter().filter(|act| *act == "refused").count();
    assert_eq!(noted, refused, "each refusal is written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_not_retry_by_the_api_nor_from_a_page() {
    let house = House::start().await;
    let viewer = house.user("ann", Role::Viewer).await;
    let browser = house.browser(&viewer).await;
    let token = format!("Bearer {}", house.token("t", &viewer).await.expose_secret());
    let path = format!("/api/bulk-data/jobs/{}/retry", Uuid::new_v4());
    for base in [&house.api, &house.pages] {
        let headers = [("cookie", browser.cookie.as_str()), ("x-csrf-token", browser.csrf.as_str())];
        assert_eq!(house.ask(Method::POST, base, &path, &headers, None).await.status, 403);
        assert_eq!(house.ask(Method::POST, base, &path, &[("authorization", &token)], None).await.status, 403);
    }
    house.sql("UPDATE bulkhead.users SET role = 'operator'").await;
    assert_eq!(
        house.ask(Method::POST, &house.api, &path, &[("authorization", &token)], None).await.status,
        403,
        "the token stays a viewer's"
    );
    let headers = [("cookie", browser.cookie.as_str()), ("x-csrf-token", browser.csrf.as_str())];
    assert_eq!(house.ask(Method::POST, &house.api, &path, &headers, None).await.status, 404, "the session has the new role at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_they_are_left_alone_or_old_or_revoked_or_their_user_is_disabled() {
    let house = House::start().await;
    house.user("root", Role::Admin).await;
    let ann = house.user("ann", Role::Viewer).await;
    let is_in = async |browser: &_| house.get(browser, "/exports").await.status == 200;
    for end in [
        "UPDATE bulkhead.sessions SET last_used_at = clock_timestamp() - interval '8 hours 1 second'",
        "UPDATE bulkhead.sessions SET expires_at = clock_timestamp()",
        "DELETE FROM bulkhead.sessions",
        "UPDATE bulkhead.users SET disabled_at = clock_timestamp() WHERE name = 'ann'",
    ] {
        let browser = house.browser(&ann).await;
        assert!(is_in(&browser).await, "{end}");
        house.sql(end).await;
        assert!(!is_in(&browser).await, "still in after {end}");
    }
    house.sql("UPDATE bulkhead.users SET disabled_at = NULL").await;
    // Used now and then, it goes on; and its use is written at most once a minute.
    let browser = house.browser(&ann).await;
    let used = async || -> String {
        sqlx::query_scalar("SELECT max(last_used_at)::text FROM bulkhead.sessions").fetch_one(&house.state.pool).await.expect("a row")
    };
    let before = used().await;
    assert!(is_in(&browser).await);
    assert_eq!(used().await, before, "each request writes");
    house.sql("UPDATE bulkhead.sessions SET last_used_at = clock_timestamp() - interval '7 hours'").await;
    let before = used().await;
    let by_itself = [("cookie", browser.cookie.as_str()), ("hx-request", "true"), ("hx-source", "div#live")];
    assert_eq!(house.ask(Method::GET, &house.pages, "/exports", &by_itself, None).await.status, 200);
    assert_eq!(used().await, before, "an open page that nobody sits at keeps its session alive");
    assert!(is_in(&browser).await);
    assert_ne!(used().await, before, "a use is not written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_told_that_its_caller_is_out_and_is_no_use_of_the_session() {
    let house = House::start().await;
    let (ann, root) = (house.user("ann", Role::Viewer).await, house.user("root", Role::Admin).await);
    let caller = |session: Option<(Uuid, Uuid)>, kind: ActorKind, id: Option<Uuid>, role: Role| Caller {
        actor: Actor { kind, id, name: "ann".to_owned(), address: None },
        role,
        session: session.map(|(id, user_id)| Session { id, user_id, csrf: String::new() }),
    };
    let session_of_ann = async || {
        house.browser(&ann).await;
        let id: Uuid = sqlx::query_scalar("SELECT id FROM bulkhead.sessions ORDER BY created_at DESC LIMIT 1")
            .fetch_one(&house.state.pool)
            .await
            .expect("it");
        caller(Some((id, ann.id)), ActorKind::User, Some(ann.id), Role::Viewer)
    };
    let valid = async |caller: &Caller| still_valid(&house.state, caller).await.expect("an answer");
    for end in [
        "DELETE FROM bulkhead.sessions",
        "UPDATE bulkhead.sessions SET expires_at = clock_timestamp()",
        "UPDATE bulkhead.sessions SET last_used_at = clock_timestamp() - interval '9 hours'",
        "UPDATE bulkhead.users SET disabled_at = clock_timestamp() WHERE name = 'ann'",
        "UPDATE bulkhead.users SET disabled_at = NULL, role = 'operator' WHERE name = 'ann'",
    ] {
        house.sql("UPDATE bulkhead.users SET disabled_at = NULL WHERE name = 'ann'").await;
        let streaming = session_of_ann().await;
        assert!(valid(&streaming).await, "{end}");
        house.sql(end).await;
        assert!(!valid(&streaming).await, "it goes on after {end}");
    }
    house.sql("UPDATE bulkhead.users SET role = 'viewer' WHERE name = 'ann'").await;
    let streaming = session_of_ann().await;
    house.sql("UPDATE bulkhead.sessions SET last_used_at = clock_timestamp() - interval '7 hours'").await;
    assert!(valid(&streaming).await);
    let rested: bool = sqlx::query_scalar("SELECT bool_and(last_used_at < clock_timestamp() - interval '6 hours') FROM bulkhead.sessions")
        .fetch_one(&house.state.pool)
        .await
        .expect("rows");
    assert!(rested, "asking used the session");
    // A token's stream, and one of somebody who was not asked.
    house.token("t", &root).await;
    let id: Uuid = sqlx::query_scalar("SELECT id FROM bulkhead.api_tokens").fetch_one(&house.state.pool).await.expect("it");
    let streaming = caller(None, ActorKind::Token, Some(id), Role::Admin);
    assert!(valid(&streaming).await);
    house.sql("UPDATE bulkhead.api_tokens SET revoked_at = clock_timestamp()").await;
    assert!(!valid(&streaming).await);
    assert!(valid(&caller(None, ActorKind::Open, None, Role::Operator)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_expire_and_their_use_is_written_once_a_minute() {
    let house = House::start().await;
    let ann = house.user("ann", Role::Viewer).await;
    let wanted = TokenWanted {
        name: "t",
        role: Role::Viewer,
        owner: Some((ann.id, ann.role)),
        lifetime: Some(std::time::Duration::from_secs(3600)),
    };
    let token = accounts::add_token(&house.state.pool, &Actor::command_line(), &wanted).await.expect("a token");
    let bearer = format!("Bearer {}", token.expose_secret());
    let look = async || house.ask(Method::GET, &house.api, "/api/bulk-data/jobs", &[("authorization", &bearer)], None).await.status;
    let used = async || -> Option<String> {
        sqlx::query_scalar("SELECT last_used_at::text FROM bulkhead.api_tokens").fetch_one(&house.state.pool).await.expect("a row")
    };
    assert_eq!((used().await, look().await), (None, 200));
    let first = used().await;
    assert!(first.is_some());
    assert_eq!((look().await, used().await), (200, first));
    house.sql("UPDATE bulkhead.api_tokens SET expires_at = clock_timestamp()").await;
    assert_eq!(look().await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_house_lets_everybody_do_what_an_operator_may_and_nobody_more() {
    let house = House::start_with(Access { api: ApiAuth::Open, pages: ApiAuth::Open, ..Access::default() }).await;
    for (path, status) in [("/exports", 200), ("/users", 403), ("/audit", 403), ("/account", 404), ("/tokens", 404)] {
        assert_eq!(house.ask(Method::GET, &house.pages, path, &[], None).await.status, status, "{path}");
    }
    let retry = format!("/api/bulk-data/jobs/{}/retry", Uuid::new_v4());
    assert_eq!(house.ask(Method::POST, &house.api, &retry, &[], None).await.status, 404);
    assert_eq!(
        house.ask(Method::POST, &house.api, &retry, &[("authorization", "Bearer bulkhead_x")], None).await.status,
        401,
        "a wrong token is wrong"
    );
    for foreign in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(house.ask(Method::POST, &house.api, &retry, &[foreign], None).await.status, 403, "{foreign:?}");
    }
}
