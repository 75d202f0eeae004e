//! What a page weighs on its way to a browser: gzipped, as the real server sends it.

use std::collections::BTreeSet;

use reqwest::header;

use crate::pages::{COOKIE, Pages};

/// Bytes of one page, all gzipped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weight {
    pub html: usize,
    /// Scripts, styles and pictures that it names, but ECharts.
    pub assets: usize,
    /// Of the data page only.
    pub echarts: usize,
}

impl Weight {
    /// Of a page, for who has this session.
    ///
    /// # Panics
    /// If it is not there.
    pub async fn of(pages: &Pages, session: &str, path: &str) -> Self {
        let (status, packed) = fetch(pages, session, path, true).await;
        let (_, html) = fetch(pages, session, path, false).await;
        assert!(status < 500, "{path}: {status}");
        let mut weight = Self { html: packed.len(), ..Self::default() };
        for asset in named(&String::from_utf8_lossy(&html)) {
            let (status, bytes) = fetch(pages, session, &asset, true).await;
            assert_eq!(status, 200, "{asset}");
            if asset.contains("/echarts") { weight.echarts += bytes.len() } else { weight.assets += bytes.len() }
        }
        weight
    }

    /// Without ECharts.
    pub const fn plain(self) -> usize {
        self.html + self.assets
    }
}

#[expect(clippy::disallowed_methods, reason = "a browser, not a worker")]
async fn fetch(pages: &Pages, session: &str, path: &str, packed: bool) -> (u16, Vec<u8>) {
    let client = reqwest::Client::builder().gzip(false).redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let mut request = client.get(format!("{}{path}", pages.address)).header(header::COOKIE, format!("{COOKIE}={session}"));
    if packed {
        request = request.header(header::ACCEPT_ENCODING, "gzip");
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.bytes().await.expect("a body").to_vec())
}

/// The files a page names, each once.
fn named(html: &str) -> BTreeSet<String> {
    let attributes = html.split(['"', '\'']).filter(|value| value.starts_with("/static/"));
    attributes.filter_map(|value| value.split('#').next()).map(str::to_owned).collect()
}
