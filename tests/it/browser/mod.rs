//! The pages in a real Chromium: what people do with them, word by word. Without a browser these tests say so and pass;
//! `BULKHEAD_REQUIRE_BROWSER=1` makes them fail.

mod acts;
mod data;
mod keyboard;
mod list;
mod login;
mod looks;
mod submit;
mod viewer;
mod walk;

use bulkhead_shared::{db::users, domain::role::Role};
use bulkhead_tests::{App, Browser, Pages, Setup, browser};
use uuid::Uuid;

/// Bulkhead, its pages, and somebody who may operate, logged in.
struct Stage {
    app: App,
    pages: Pages,
    browser: Browser,
}

impl Stage {
    /// `None` where no browser is installed.
    async fn set(setup: Setup) -> Option<Self> {
        browser::driver().await?;
        let app = App::start(setup).await;
        let pages = Pages::start(&app.database).await;
        let browser = Browser::open(&pages).await?;
        Some(Self { app, pages, browser })
    }

    /// The same, with an operator logged in.
    async fn with_operator(setup: Setup) -> Option<Self> {
        let stage = Self::set(setup).await?;
        stage.pages.user("olga", Role::Operator).await;
        stage.browser.sign_in(&stage.pages, "olga").await;
        Some(stage)
    }

    /// Whose name it is.
    async fn user(&self, name: &str) -> Uuid {
        users::by_name(&self.app.pool, name).await.expect("SQL").expect("the user").id
    }

    /// The browser had nothing to complain about.
    async fn was_quiet(&self) {
        let complaints = self.browser.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

/// Pages without workers: nothing is exported.
fn idle() -> Setup {
    Setup { workers: 0, ..crate::setup() }
}
