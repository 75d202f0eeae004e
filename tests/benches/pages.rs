//! Time to the first byte of the pages at 100,000 exports, beside the same at 100: `cargo bench -p bulkhead-tests --bench pages`.

use std::time::Instant;

use bulkhead_shared::domain::role::Role;
use bulkhead_tests::{
    App, Database, Pages, SandboxConfig, Setup,
    app::client,
    bench::{Bench, Goal, Samples, quantile},
    history,
    pages::COOKIE,
};
use reqwest::header;
use uuid::Uuid;

const FEW: usize = 100;
/// Of each page, a run.
const LOOKS: usize = 20;

#[tokio::main]
async fn main() {
    let bench = Bench::start("pages");
    let many = bench.size(100_000, 400);
    let sandbox = SandboxConfig { scale: 0.001, ..SandboxConfig::default() };
    let program = env!("CARGO_BIN_EXE_bulkhead-test-worker");
    let app =
        App::start_on(Database::durable().await, Setup { sandbox, workers: 0, settings: Vec::new(), own_postgres: false, program }).await;
    let pages = Pages::start(&app.database).await;
    pages.user("ada", Role::Admin).await;
    let reader = Reader { cookie: format!("{COOKIE}={}", pages.log_in("ada").await), address: pages.address.clone(), http: client() };

    let mut times = Samples::of("milliseconds to the first byte");
    let mut known = 0;
    let mut names = Vec::new();
    for exports in [FEW, many] {
        history::add(&app.pool, exports - known, 180).await;
        known = exports;
        let looked_at = reader.pages(&app).await;
        for _ in 0..bench.runs * LOOKS {
            for (name, path) in &looked_at {
                times.add(format!("{name}, {exports} exports"), reader.first_byte(path).await);
            }
        }
        names = looked_at.into_iter().map(|(name, _)| name).collect();
    }
    println!("{:<66} {:>10} {:>10} {:>10}", "milliseconds to the first byte", "p50", "p95", "most");
    for exports in [FEW, many] {
        for name in &names {
            let all = times.values(&format!("{name}, {exports} exports"));
            let [half, most, worst] = [0.5, 0.95, 1.0].map(|share| quantile(all, share));
            println!("  {:<64} {half:>10.2} {most:>10.2} {worst:>10.2}", format!("{name}, {exports} exports"));
        }
    }
    for name in names {
        let (of, to) = (format!("{name}, {many} exports"), format!("{name}, {FEW} exports"));
        times.ratio(&format!("{name}: {many} exports / {FEW}"), &of, &to, Goal::AtMost(3.0, 1.5));
    }
}

struct Reader {
    address: String,
    cookie: String,
    http: reqwest::Client,
}

impl Reader {
    async fn get(&self, path: &str) -> reqwest::Response {
        let answer = self.http.get(format!("{}{path}", self.address)).header(header::COOKIE, &self.cookie).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer
    }

    /// Its milliseconds. The rest is read too, so that the next does not pay for it.
    async fn first_byte(&self, path: &str) -> f64 {
        let began = Instant::now();
        let mut answer = self.get(path).await;
        answer.chunk().await.expect("a byte");
        let millis = began.elapsed().as_secs_f64() * 1e3;
        answer.bytes().await.expect("a page");
        millis
    }

    /// What is looked at, and its address.
    async fn pages(&self, app: &App) -> Vec<(&'static str, String)> {
        let (newest, oldest): (Uuid, Uuid) = sqlx::query_as(
            "SELECT (SELECT id FROM bulkhead.exports WHERE state = 'completed' ORDER BY created_at DESC LIMIT 1),
                    (SELECT id FROM bulkhead.exports WHERE state = 'failed' ORDER BY created_at LIMIT 1)",
        )
        .fetch_one(&app.pool)
        .await
        .expect("exports");
        let begin = oldest.to_string()[..8].to_owned();
        vec![
            ("list", "/exports".to_owned()),
            ("list of failed", "/exports?state=failed".to_owned()),
            ("list of failed for one reason", "/exports?state=failed&reason=expired".to_owned()),
            ("list by a Group's text", "/exports?q=oncology".to_owned()),
            ("list by the beginning of an ID", format!("/exports?q={begin}")),
            ("list by a text that is nowhere", "/exports?q=nothing-of-this-name".to_owned()),
            ("list, deep inside", self.deep().await),
            ("page of the newest export", format!("/exports/{newest}")),
            ("page of the oldest export that failed", format!("/exports/{oldest}")),
            ("failures", "/failures".to_owned()),
            ("queue", "/queue".to_owned()),
            ("sources", "/sources".to_owned()),
        ]
    }

    /// Forty pages on, as the links lead.
    async fn deep(&self) -> String {
        let mut path = "/exports".to_owned();
        for _ in 0..40 {
            let html = self.get(&path).await.text().await.expect("a page");
            let link = html.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
            let Some(link) = link else { break };
            path = link.replace("&#38;", "&").replace("&amp;", "&");
        }
        path
    }
}
