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
    /// Only what README shows, each as large as a window
    #[arg(long)]
    readme: bool,
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
    if !arguments.readme {
        for place in wanted(places::empty()) {
            camera.takes(&place).await;
        }
    }
    history::add(&app.pool, 120, 21).await;
    let mix = Mix::make(&app, 4).await;
    if arguments.readme {
        camera.takes_for_readme(&mix).await;
        app.sandbox.release();
        return Ok(ExitCode::SUCCESS);
    }
    let filled = wanted(places::filled(&app.pool, &mix).await);
    let (outside, inside): (Vec<_>, Vec<_>) = filled.iter().partition(|place| place.outside);
    for place in inside {
        camera.takes(place).await;
    }
    camera.browser.sign_out().await;
    for place in outside {
        camera.takes(place).await;
    }
    if arguments.only.is_empty() {
        camera.plays(&app, &pages).await;
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

    /// The page as it is now, which no address gives again: light, dark and narrow.
    async fn takes_now(&self, name: &str) {
        for (look, theme, width, height) in [("light", "light", 1280, 900), ("dark", "dark", 1280, 900), ("narrow", "light", 390, 844)] {
            self.browser.script(&format!("document.documentElement.dataset.theme = '{theme}'")).await;
            self.browser.size(width, height).await;
            self.browser.screenshot(&self.folder.join(format!("{name}.{look}.png"))).await;
        }
        self.browser.size(1280, 900).await;
        println!("{name}");
    }

    /// What is only seen after something was done.
    async fn plays(&self, app: &App, pages: &Pages) {
        let browser = &self.browser;
        browser.theme(Theme::Light).await;
        browser.language(Language::English).await;
        browser.size(1280, 900).await;
        browser.go("/login").await;
        browser.fill("#name", "olga").await;
        browser.fill("#password", "three words only").await;
        browser.click_on("Log in").await;
        browser.until_says("[role=alert]", "wrong").await;
        self.takes_now("done-login-wrong").await;

        browser.sign_in(pages, "admin").await;
        browser.go("/exports").await;
        browser.click("details.more > summary").await;
        self.takes_now("done-filters").await;
        browser.go("/exports").await;
        browser.click("[popovertarget=help]").await;
        self.takes_now("done-help").await;
        browser.go("/exports").await;
        browser.script("document.querySelectorAll('#rows input[name=export]').forEach((box, n) => { if (n < 3) box.click(); })").await;
        self.takes_now("done-selected").await;

        browser.go("/tokens").await;
        browser.fill("#name", "nightly").await;
        browser.click_on("Make the token").await;
        browser.until_says("main", "nightly").await;
        self.takes_now("done-token").await;
        browser.click_on("Revoke the token nightly").await;
        self.takes_now("done-revoke").await;

        browser.go("/new").await;
        browser.script("const all = document.querySelector('#source'); all.value = [...all.options].find((one) => one.text.includes('sandbox')).value").await;
        browser.click_on("Use it").await;
        browser.until_says("main", "The server answers and all is well").await;
        for group in ["FallonHealth", "TuftsHealthPlan"] {
            browser.click(&format!("input[name=group][value={group}]")).await;
        }
        browser.click("input[name=type][value=Patient]").await;
        self.takes_now("done-new-pick").await;
        browser.click_on("Go on to the summary").await;
        browser.until_says("main", "FallonHealth").await;
        self.takes_now("done-new-summary").await;
        app.sandbox.fault("kick-off:too-recently*always");
        browser.click_on("Submit 2 exports").await;
        browser.until_says("h1", "2 exports submitted").await;
        self.takes_now("done-new-sent").await;
        browser.click("#live td a").await;
        browser.until_says(".standing", "asked to wait").await;
        self.takes_now("done-cool-down").await;
        app.sandbox.clear_faults();

        // What the history made up cannot be retried.
        browser.go(&format!("/exports/act?act=retry&all=1&state=failed&source={}", app.sandbox.base_url())).await;
        browser.click("form.confirm button.primary").await;
        browser.until_says("main", "retried").await;
        self.takes_now("done-retry").await;
    }

    /// The list, the data and an export, each as large as a window.
    async fn takes_for_readme(&self, mix: &Mix) {
        self.browser.language(Language::English).await;
        let data = format!("/data?etl_job_id={}", mix.completed[0]);
        let export = format!("/exports/{}", mix.incomplete);
        for (name, path, theme, height) in [
            ("exports", "/exports", Theme::Light, 860),
            ("export", export.as_str(), Theme::Light, 1000),
            ("data", data.as_str(), Theme::Light, 1110),
            ("data-dark", data.as_str(), Theme::Dark, 1110),
        ] {
            self.browser.theme(theme).await;
            self.browser.fine(1280, height, 1.5).await;
            self.browser.go(path).await;
            self.browser.window(&self.folder.join(format!("{name}.png"))).await;
            println!("{name}");
        }
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
