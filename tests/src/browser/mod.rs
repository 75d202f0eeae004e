//! A real Chromium, driven over WebDriver. One driver a test process, one browser a test, with a profile of its own.

mod axe;
mod driver;
mod look;

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    By, Capabilities, ChromiumLikeCapabilities as _, LoggingPrefsLogLevel, TypingData, WebDriver, WebElement, error::WebDriverResult,
};

pub use driver::driver;
pub use look::{Language, Theme};

use crate::pages::{COOKIE, Pages};

/// No page takes longer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// A window at the pages of a test. Ends with it.
pub struct Browser {
    driver: WebDriver,
    address: String,
    _profile: TempDir,
}

impl Browser {
    /// Opens one; `None`, and said so, where none is installed.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn open(pages: &Pages) -> Option<Self> {
        let server = driver().await?;
        let profile = tempfile::tempdir().expect("a folder");
        let wanted = capabilities(&profile).expect("they are JSON");
        let driver = WebDriver::new(&server.address, wanted).await.expect("Chromium starts");
        let browser = Self { driver, address: pages.address.clone(), _profile: profile };
        browser.size(1280, 900).await;
        Some(browser)
    }

    /// Logged in without the form.
    ///
    /// # Panics
    /// If the browser refuses the cookie.
    pub async fn sign_in(&self, pages: &Pages, name: &str) {
        self.cookie(COOKIE, &pages.log_in(name).await).await;
    }

    /// Logged out without the form.
    ///
    /// # Panics
    /// If the browser is gone.
    pub async fn sign_out(&self) {
        self.developer("Network.deleteCookies", json!({ "name": COOKIE, "url": self.address })).await;
    }

    /// Loads a page, and everything it names.
    ///
    /// # Panics
    /// If it does not load.
    pub async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.address)).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        // Chromium drops the keys that are pressed before it has drawn a page for the first time.
        let drawn = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(true)));";
        self.driver.execute_async(drawn, Vec::new()).await.unwrap_or_else(|error| panic!("{path} is not drawn: {error}"));
    }

    /// Path and query of the page.
    ///
    /// # Panics
    /// If there is none.
    pub async fn path(&self) -> String {
        let url = self.driver.current_url().await.expect("a page");
        url.as_str().strip_prefix(&self.address).unwrap_or(url.as_str()).to_owned()
    }

    /// Clicks what there is, or will be in a moment.
    ///
    /// # Panics
    /// If it cannot be clicked.
    pub async fn click(&self, css: &str) {
        self.until(format!("{css} can be clicked"), async || self.driver.find(By::Css(css)).await?.click().await.map(Some)).await;
    }

    /// Clicks the link or button that says exactly this.
    ///
    /// # Panics
    /// If there is none.
    pub async fn click_on(&self, words: &str) {
        self.until(format!("{words:?} can be clicked"), async || self.saying(words).await?.click().await.map(Some)).await;
    }

    /// The visible link or button that says exactly this.
    async fn saying(&self, words: &str) -> WebDriverResult<WebElement> {
        let path = format!("//*[self::a or self::button or self::summary][normalize-space()={0} or @aria-label={0}]", quoted(words));
        let all = self.driver.find_all(By::XPath(path.as_str())).await?;
        for one in all {
            if one.is_displayed().await? {
                return Ok(one);
            }
        }
        self.driver.find(By::XPath(path)).await
    }

    /// Whether a link or button says exactly this.
    ///
    /// # Panics
    /// If the browser is gone.
    pub async fn offers(&self, words: &str) -> bool {
        match self.saying(words).await {
            Ok(found) => found.is_displayed().await.unwrap_or(false),
            Err(_) => false,
        }
    }

    /// Types into a field, in place of what is there.
    ///
    /// # Panics
    /// If there is no such field.
    pub async fn fill(&self, css: &str, text: &str) {
        let fill = async || {
            let field = self.driver.find(By::Css(css)).await?;
            field.clear().await?;
            field.send_keys(text).await.map(Some)
        };
        self.until(format!("{css} can be filled"), fill).await;
    }

    /// Presses keys where the focus is.
    ///
    /// # Panics
    /// If the browser is gone.
    pub async fn press(&self, keys: impl Into<TypingData>) {
        self.driver.action_chain().send_keys(keys).perform().await.expect("keys");
    }

    /// Clicks a point of what is seen.
    ///
    /// # Panics
    /// If it is outside.
    #[expect(clippy::cast_possible_truncation, reason = "pixels")]
    pub async fn click_at(&self, x: f64, y: f64) {
        self.driver.action_chain().move_to(x as i64, y as i64).click().perform().await.expect("a click");
    }

    /// The visible text of the first that fits.
    ///
    /// # Panics
    /// If nothing fits.
    pub async fn text(&self, css: &str) -> String {
        self.until(format!("{css} is there"), async || self.driver.find(By::Css(css)).await?.text().await.map(Some)).await
    }

    /// How many fit.
    ///
    /// # Panics
    /// If the browser is gone.
    pub async fn count(&self, css: &str) -> usize {
        self.driver.find_all(By::Css(css)).await.expect("a selector").len()
    }

    /// Waits until the visible text of the first that fits holds these words.
    ///
    /// # Panics
    /// If it never does.
    pub async fn until_says(&self, css: &str, words: &str) {
        let says = async || {
            let text = self.driver.find(By::Css(css)).await?.text().await?;
            Ok(text.contains(words).then_some(()))
        };
        self.until(format!("{css} says {words:?}"), says).await;
    }

    /// Waits until path and query begin so.
    ///
    /// # Panics
    /// If they never do.
    pub async fn until_at(&self, path: &str) {
        let wanted = format!("{}{path}", self.address);
        let there = async || Ok(self.driver.current_url().await?.as_str().starts_with(&wanted).then_some(()));
        self.until(format!("the page is {path}"), there).await;
    }

    /// Waits until a script answers true.
    ///
    /// # Panics
    /// If it never does.
    pub async fn until_true(&self, script: &str) {
        let holds = async || Ok((self.driver.execute(script, Vec::new()).await?.json() == &Value::Bool(true)).then_some(()));
        self.until(format!("`{script}` is true"), holds).await;
    }

    /// What a script answers.
    ///
    /// # Panics
    /// If it throws.
    pub async fn script(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// What the browser complained about since it was asked last: errors of scripts, what the content security policy forbade, what did
    /// not load.
    ///
    /// # Panics
    /// If the browser is gone.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.expect("a log");
        log.into_iter().filter(|entry| matches!(entry.level.as_str(), "WARNING" | "SEVERE")).map(|entry| entry.message).collect()
    }

    /// A cookie, as the server would set it.
    ///
    /// # Panics
    /// If the browser refuses it.
    pub async fn cookie(&self, name: &str, value: &str) {
        self.developer("Network.setCookie", json!({ "url": self.address, "name": name, "value": value, "path": "/" })).await;
    }

    /// A command of the Chrome DevTools Protocol.
    async fn developer(&self, command: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(command, parameters).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Asks until it is so. A page changes under our hands: an error means not yet.
    async fn until<T, F: Future<Output = WebDriverResult<Option<T>>>>(&self, what: impl Display, mut look: impl FnMut() -> F) -> T {
        let began = Instant::now();
        loop {
            let found = look().await;
            match found {
                Ok(Some(found)) => return found,
                now if began.elapsed() > PATIENCE => {
                    let now = now.err().map(|error| error.to_string()).unwrap_or_default();
                    panic!("never so: {what} {now}\n{}", self.state().await)
                }
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// For a test that fails: where it stands.
    async fn state(&self) -> String {
        let body = async { self.driver.find(By::Css("body")).await?.text().await };
        let body = body.await.unwrap_or_else(|error| error.to_string());
        format!("{}\n{body}\n{:?}", self.path().await, self.complaints().await)
    }
}

/// A string of XPath, which knows no escapes.
fn quoted(text: &str) -> String {
    if text.contains('"') { format!("'{text}'") } else { format!("\"{text}\"") }
}

fn capabilities(profile: &TempDir) -> WebDriverResult<Capabilities> {
    let mut wanted = thirtyfour::DesiredCapabilities::chrome();
    for argument in [
        "headless",
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        "hide-scrollbars",
        "force-prefers-reduced-motion",
        "lang=en-US",
    ] {
        wanted.add_arg(&format!("--{argument}"))?;
    }
    if rustix::process::geteuid().is_root() {
        // Chromium's sandbox wants somebody else.
        wanted.add_arg("--no-sandbox")?;
    }
    wanted.add_arg(&format!("--user-data-dir={}", profile.path().display()))?;
    wanted.set_browser_log_level(LoggingPrefsLogLevel::All)?;
    Ok(wanted.into())
}
