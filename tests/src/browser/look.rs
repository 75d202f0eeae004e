//! How a page is looked at: theme, language, width; and what it looks like.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::Browser;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Theme {
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    pub const fn word(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }
}

/// Of a picture: a longer page is cut there.
const HIGHEST: u32 = 3_000;

impl Browser {
    /// Of the next page.
    pub async fn theme(&self, theme: Theme) {
        self.cookie("bulkhead_theme", theme.word()).await;
    }

    /// Of the next page.
    pub async fn language(&self, language: Language) {
        self.cookie("bulkhead_language", language.word()).await;
    }

    /// Of what is seen, in CSS pixels; narrow ones are telephones.
    pub async fn size(&self, width: u32, height: u32) {
        let mobile = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.developer("Emulation.setDeviceMetricsOverride", metrics).await;
        self.developer("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
    }

    /// Waits until nothing moves: what the page loads later is there, and two looks are the same.
    ///
    /// # Panics
    /// If it never rests.
    pub async fn settled(&self) {
        self.until_true(
            "const now = document.body.innerHTML;
             const same = window.before === now && document.fonts.status === 'loaded' && !document.querySelector('[aria-busy=true]');
             window.before = now;
             return same",
        )
        .await;
    }

    /// What can only be seen by scrolling sideways: nothing, on a good page.
    ///
    /// # Panics
    /// If the browser is gone.
    pub async fn sticks_out(&self) -> Vec<String> {
        let found = self
            .script(
                "const wide = document.documentElement.clientWidth;
                 if (document.documentElement.scrollWidth <= wide) return [];
                 const scrolls = (one) => one && one !== document.documentElement && (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
                 const out = [...document.body.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > wide + 1 && !scrolls(one.parentElement));
                 return [`${document.documentElement.scrollWidth} px of ${wide}`, ...out.map((one) => one.outerHTML.slice(0, 120))];",
            )
            .await;
        found.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Of the next page, with so many dots for each pixel.
    pub async fn fine(&self, width: u32, height: u32, dots: f64) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": dots, "mobile": false });
        self.developer("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the window shows as a PNG.
    ///
    /// # Panics
    /// If it cannot be written.
    pub async fn window(&self, file: &Path) {
        self.settled().await;
        self.write(file).await;
    }

    async fn write(&self, file: &Path) {
        let taken = self.developer("Page.captureScreenshot", json!({ "format": "png" })).await;
        let png = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(file, png).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// The whole page as a PNG, in a window that is as high as the page.
    ///
    /// # Panics
    /// If it cannot be written.
    pub async fn screenshot(&self, file: &Path) {
        let window = self.script("return [innerWidth, innerHeight, document.documentElement.scrollHeight]").await;
        let [width, height, page] = [0, 1, 2].map(|n| window[n].as_u64().and_then(|n| u32::try_from(n).ok()).expect("pixels"));
        self.size(width, page.clamp(height, HIGHEST)).await;
        self.settled().await;
        self.write(file).await;
        self.size(width, height).await;
    }
}
