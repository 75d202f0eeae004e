//! Pictures of every page, and what each weighs: `cargo run -p bulkhead-tests --bin screenshots -- FOLDER`.
//!
//! Postgres, a worker, the pages and a made-up FHIR server are started for it; Debian's chromium and chromium-driver must be installed.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use bulkhead_shared::domain::role::Role;
use bulkhead_tests::{
    App, Browser, Pages, Setup,
    browser::{Language, Theme},
    history,
    mix::Mix,
    places::{self, Place},
    weight::Weight,
};
use clap::Parser;

/// Makes pictures of every page.
#[derive(Parser)]
struct Arguments {
    /// Where the pictures go
    folder: Option<PathBuf>,
    /// Only pages whose name begins so
    #[arg(long, default_value = "")]
    only: String,
    /// This process is the worker of another that makes pictures
    #[arg(long, env = WORKER, hide = true)]
    worker: bool,
}

const WORKER: &str = "BULKHEAD_SCREENSHOTS_WORKER";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.worker {
        return Ok(bulkhead_tests::worker::main().await);
    }
    let folder = arguments.folder.context("say where the pictures go: screenshots FOLDER")?;
    std::fs::create_dir_all(&folder)?;
    let program: &'static str = Box::leak(std::env::current_exe()?.display().to_string().into_boxed_str());
    let settings = vec![(WORKER, "true".to_owned())];
    let app = App::start(Setup { sandbox: Mix::sandbox(0.4), workers: 2, settings, own_postgres: false, program }).await;
    let pages = Pages::start(&app.database).await;
    for (name, role) in [("admin", Role::Admin), ("olga", Role::Operator), ("victor", Role::Viewer)] {
        pages.user(name, role).await;
    }
    let session = pages.log_in("admin").await;
    let camera =
        Camera { browser: Browser::open(&pages).await.context("there is no browser: apt-get install chromium chromium-driver")?, folder };
    let wanted = |places: Vec<Place>| places.into_iter().filter(|place| place.name.starts_with(&arguments.only)).collect::<Vec<_>>();

    camera.browser.sign_in(&pages, "admin").await;
    for place in wanted(places::empty()) {
        camera.takes(&place).await;
    }
    history::add(&app.pool, 120, 21).await;
    let mix = Mix::make(&app, 4).await;
    let filled = wanted(places::filled(&app.pool, &mix).await);
    let (outside, inside): (Vec<_>, Vec<_>) = filled.iter().partition(|place| place.outside);
    for place in inside {
        camera.takes(place).await;
    }
    camera.browser.sign_out().await;
    for place in outside {
        camera.takes(place).await;
    }
    weigh(&pages, &session, &filled).await;
    app.sandbox.release();
    Ok(ExitCode::SUCCESS)
}

struct Camera {
    browser: Browser,
    folder: PathBuf,
}

impl Camera {
    /// Light, dark, narrow; and light in Chinese.
    async fn takes(&self, place: &Place) {
        let english = Language::English;
        for (look, theme, language, width, height) in [
            ("light", Theme::Light, english, 1280, 900),
            ("dark", Theme::Dark, english, 1280, 900),
            ("narrow", Theme::Light, english, 390, 844),
            ("chinese", Theme::Light, Language::Chinese, 1280, 900),
        ] {
            self.browser.theme(theme).await;
            self.browser.language(language).await;
            self.browser.size(width, height).await;
            self.browser.go(&place.path).await;
            self.browser.settled().await;
            self.browser.screenshot(&self.folder.join(format!("{}.{look}.png", place.name))).await;
        }
        println!("{}", place.name);
    }
}

async fn weigh(pages: &Pages, session: &str, places: &[Place]) {
    println!("\n{:<28} {:>8} {:>8} {:>8} {:>14}", "bytes, gzipped", "HTML", "assets", "together", "with ECharts");
    for place in places {
        let weight = Weight::of(pages, if place.outside { "" } else { session }, &place.path).await;
        let with = if weight.echarts > 0 { (weight.plain() + weight.echarts).to_string() } else { String::new() };
        println!("{:<28} {:>8} {:>8} {:>8} {with:>14}", place.name, weight.html, weight.assets, weight.plain());
    }
}
