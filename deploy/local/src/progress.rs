//! Progress of several exports: bars in a terminal, plain lines otherwise.

use std::{collections::HashMap, io::IsTerminal as _, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use uuid::Uuid;

/// Shows how exports go.
pub struct Progress {
    bars: Option<(MultiProgress, HashMap<Uuid, ProgressBar>)>,
    said: HashMap<Uuid, String>,
}

impl Progress {
    /// One line an export.
    pub fn new(exports: &[(Uuid, String)]) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bars: None, said: HashMap::new() };
        }
        let multi = MultiProgress::new();
        let width = exports.iter().map(|(_, name)| name.chars().count()).max().unwrap_or(0);
        let style = ProgressStyle::with_template("{prefix}  {bar:24.cyan/dim}  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bars = exports
            .iter()
            .map(|(job, name)| {
                let bar = multi.add(ProgressBar::new(100).with_style(style.clone()).with_prefix(format!("{name:width$}")));
                bar.enable_steady_tick(Duration::from_millis(200));
                (*job, bar)
            })
            .collect();
        Self { bars: Some((multi, bars)), said: HashMap::new() }
    }

    /// An export's status was read.
    pub fn show(&mut self, job: Uuid, name: &str, status: &Value) {
        let word = status["status"].as_str().unwrap_or("?");
        match &self.bars {
            Some((_, bars)) => {
                let Some(bar) = bars.get(&job) else { return };
                bar.set_position(percent(status));
                let detail = status["progress"].as_str().unwrap_or_default();
                bar.set_message(if detail.is_empty() { word.to_owned() } else { format!("{word}: {detail}") });
                if is_over(status) {
                    bar.abandon();
                }
            }
            None => {
                if self.said.insert(job, word.to_owned()).as_deref() != Some(word) {
                    eprintln!("{name}: {word}");
                }
            }
        }
    }
}

/// Whether nothing more happens by itself.
pub fn is_over(status: &Value) -> bool {
    matches!(status["status"].as_str(), Some("completed" | "failed" | "cancelled"))
}

/// A tenth for the server's part, then by the lines that are loaded.
fn percent(status: &Value) -> u64 {
    let files = status["files"].as_array().map_or(&[][..], Vec::as_slice);
    let sum = |field: &str| files.iter().filter_map(|file| file[field].as_u64()).sum::<u64>();
    match status["status"].as_str() {
        Some("completed") => 100,
        Some("queued") => 0,
        Some("in-progress") => 5,
        _ => {
            let expected = sum("expected_count").max(sum("lines"));
            let loaded = sum("rows") + sum("duplicates") + sum("rejects");
            10 + (loaded * 89).checked_div(expected).unwrap_or(0).min(89)
        }
    }
}
