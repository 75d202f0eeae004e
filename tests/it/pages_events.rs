//! What open pages hear of changes.

use std::time::{Duration, Instant};

use bulkhead_tests::{
    App, Setup,
    app::{PATIENCE, client},
};

use crate::{data_page::page::pages, setup};

/// An open stream of events.
struct Feed {
    response: reqwest::Response,
    read: String,
}

impl Feed {
    async fn open(base: &str, path: &str) -> Self {
        let response = client().get(format!("{base}{path}")).send().await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().expect("a value"))
        );
        Self { response, read: String::new() }
    }

    /// The next event's name.
    async fn next(&mut self) -> String {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let event: String = self.read.drain(..end + 2).collect();
                let name = event.lines().find_map(|line| line.strip_prefix("event: ")).expect("a name").to_owned();
                assert!(event.lines().any(|line| line.starts_with("data:")), "browsers drop an event without data");
                return name;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("a sign of life").expect("a stream");
            self.read.push_str(std::str::from_utf8(&chunk.expect("no end")).expect("UTF-8"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_hears_of_changes_of_its_export_and_a_sign_of_life_without() {
    let mut app = App::start(Setup { workers: 0, ..setup() }).await;
    let job = app.export("HealthNewEngland").await;
    let base = pages(&app).await;
    let begun = Instant::now();
    let mut any = Feed::open(&base, "/events").await;
    let mut its = Feed::open(&base, &format!("/events/{job}")).await;
    let mut others = Feed::open(&base, &format!("/events/{}", uuid::Uuid::now_v7())).await;
    for feed in [&mut any, &mut its, &mut others] {
        assert_eq!(feed.next().await, "changed", "who has just connected may have missed something");
    }
    // Nothing happens while nobody works, once the listener has begun.
    while its.next().await != "beat" {}

    app.add_worker();
    for feed in [&mut any, &mut its] {
        while feed.next().await != "changed" {}
    }
    app.until(job, "completed").await;
    let until = Instant::now() + Duration::from_secs(9);
    let mut told = 0;
    while Instant::now() < until {
        told += u64::from(others.next().await == "changed");
    }
    let looks = begun.elapsed().as_secs() / 15 + 1;
    assert!(told <= looks, "another export's changes are not news here, but it is looked again now and then: {told} of {looks}");
}
