//! How an export stands, in one sentence, and what comes next.

use askama::filters::Safe;
use bulkhead_shared::{
    db::stages::AtWork,
    domain::{
        export::{ExportState, Route},
        failure::Failure,
        finding::Severity,
    },
};
use chrono::{DateTime, Utc};

use super::Seen;
use crate::pages::{frame::Frame, texts::fill};

/// Fewer parts in a minute say nothing about the next minute.
const ENOUGH_TO_JUDGE: i64 = 3;

/// One sentence, and what belongs to it.
pub struct Standing {
    /// `good`, `bad`, `busy`, `warn` or `idle`.
    pub tone: &'static str,
    pub headline: String,
    /// More sentences of ours; the first of them may tell a time.
    pub more: Vec<Safe<String>>,
    /// The words of whoever stopped or delayed it; in English.
    pub words: Option<String>,
    /// What a reader can do.
    pub next: Option<&'static str>,
    /// Done of all, for a bar.
    pub progress: Option<(i64, i64)>,
}

impl Standing {
    pub fn of(frame: &Frame, seen: &Seen) -> Self {
        let export = &seen.export;
        let t = |key: &str| frame.t(key).to_owned();
        if export.delete_requested_at.is_some() {
            return Self::new("idle", t("standing.deleting"));
        }
        match (export.state, &export.failure) {
            (ExportState::Completed, _) => completed(frame, seen),
            (ExportState::Failed, Some(failure)) => failed(frame, seen, failure),
            (ExportState::Cancelled | ExportState::Failed, _) => {
                Self::new("idle", frame.with("standing.cancelled", frame.count("export.n.rows", seen.sums.rows)))
            }
            _ => under_way(frame, seen),
        }
    }

    fn new(tone: &'static str, headline: String) -> Self {
        Self { tone, headline, more: Vec::new(), words: None, next: None, progress: None }
    }

    fn say(&mut self, sentence: impl Into<String>) {
        self.more.push(Safe(sentence.into()));
    }

    /// The bar's length in thousandths.
    pub fn thousandths(&self) -> i64 {
        self.progress.map_or(0, |(done, all)| (done * 1000).checked_div(all).unwrap_or(0).clamp(0, 1000))
    }
}

fn completed(frame: &Frame, seen: &Seen) -> Standing {
    let export = &seen.export;
    let took = export.finished_at.map_or(0, |end| (end - export.created_at).num_seconds());
    let files: i64 = seen.counts.iter().map(|count| count.files).sum();
    let values = [frame.count("export.n.rows", seen.sums.rows), frame.count("export.n.files", files), frame.duration(took)];
    let key = if export.accepted_at.is_some() { "standing.accepted" } else { "standing.completed" };
    let tone = if export.accepted_at.is_some() { "warn" } else { "good" };
    let mut standing = Standing::new(tone, fill(frame.t(key), &[&values[0], &values[1], &values[2]]));
    let warnings = export.findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    if warnings > 0 {
        standing.say(frame.count("standing.warnings", warnings));
    }
    standing
}

fn failed(frame: &Frame, seen: &Seen, failure: &Failure) -> Standing {
    let reason = frame.word("reason", failure.reason);
    let mut standing = Standing::new("bad", frame.with_two("standing.failed", reason, frame.word("stage", failure.stage)));
    if seen.sums.rows > 0 {
        standing.say(frame.with("standing.rows_stay", frame.count("export.n.rows", seen.sums.rows)));
    }
    standing.words = Some(failure.detail.clone());
    standing.next = Some(frame.word("reason.next", failure.reason));
    standing
}

fn under_way(frame: &Frame, seen: &Seen) -> Standing {
    let export = &seen.export;
    let t = |key: &str| frame.t(key).to_owned();
    let mut standing = match export.state {
        ExportState::Queued if export.waits_for.is_some() => Standing::new("idle", t("standing.waits")),
        ExportState::Queued => Standing::new("idle", t("standing.queued")),
        ExportState::Authenticating => Standing::new("busy", t("standing.authenticating")),
        ExportState::Downloading | ExportState::Loading => with_files(frame, seen),
        _ if export.route == Route::Search => Standing::new("busy", t("standing.members")),
        ExportState::KickingOff => Standing::new("busy", t("standing.kicking_off")),
        _ => Standing::new("busy", t("standing.in_progress")),
    };
    if !seen.any_worker {
        standing.tone = "bad";
        standing.next = Some(frame.t("standing.no_worker"));
    }
    held_up(frame, seen, &mut standing);
    standing
}

/// Files are coming in.
fn with_files(frame: &Frame, seen: &Seen) -> Standing {
    let (export, sums) = (&seen.export, &seen.sums);
    let all: i64 = seen.counts.iter().map(|count| count.files).sum();
    let here: i64 = seen.counts.iter().filter(|count| count.state == "downloaded").map(|count| count.files).sum();
    let rows = frame.count("export.n.rows", sums.rows);
    let number = |n: i64| frame.number(n);
    let mut standing = if export.state == ExportState::Loading {
        let values = [frame.count("export.n.files", all), number(sums.loaded), number(sums.parts), rows];
        Standing::new("busy", fill(frame.t("standing.loading"), &values.each_ref().map(String::as_str)))
    } else {
        let key = if export.route == Route::Search { "standing.searching" } else { "standing.downloading" };
        let values = [number(here), frame.count("export.n.files", all), rows];
        Standing::new("busy", fill(frame.t(key), &values.each_ref().map(String::as_str)))
    };
    standing.progress = Some(match lines_in_all(seen) {
        Some(lines) => (sums.lines_loaded, lines),
        None if export.state == ExportState::Loading => (sums.bytes_loaded, sums.bytes),
        None => (here, all),
    })
    .filter(|(_, all)| *all > 0);
    if !export.manifest_complete {
        standing.say(frame.t("standing.listing"));
    } else if let Some(left) = seconds_left(seen) {
        standing.say(frame.with("standing.left", frame.duration(left)));
    }
    standing
}

/// Lines of all files: of those that are here as they were counted, of the others as they were announced. `None`: nobody knows.
fn lines_in_all(seen: &Seen) -> Option<i64> {
    let lines = seen.counts.iter().map(|count| match count.state.as_str() {
        "pending" => count.announced,
        _ => Some(count.lines),
    });
    lines.sum::<Option<i64>>().filter(|_| seen.export.manifest_complete)
}

/// What is left at the pace of the last minute; only where all that is to come is known, and enough came in that minute.
fn seconds_left(seen: &Seen) -> Option<i64> {
    let (sums, all) = (&seen.sums, lines_in_all(seen)?);
    let left = all - sums.lines_loaded;
    (sums.parts_lately >= ENOUGH_TO_JUDGE && sums.lines_lately > 0 && left > 0).then(|| (left * 60 / sums.lines_lately).max(1))
}

/// What it waits for, or what went wrong the last time.
fn held_up(frame: &Frame, seen: &Seen, standing: &mut Standing) {
    let at = |key: &str, at: DateTime<Utc>| fill(frame.t(key), &[&frame.ago(at).0]);
    let has_begun = matches!(seen.export.state, ExportState::Downloading | ExportState::Loading);
    if let Some(cool_down) = seen.cool_down.as_ref().filter(|_| !has_begun) {
        standing.tone = "warn";
        frame.t("standing.cool_down").clone_into(&mut standing.headline);
        standing.say(at("standing.again", cool_down.until));
        standing.words = Some(cool_down.words.clone());
        return;
    }
    if !seen.source.paused.is_zero() && has_begun {
        let until = frame.now + chrono::TimeDelta::from_std(seen.source.paused).unwrap_or_default();
        standing.tone = "warn";
        standing.say(at("standing.paused", until));
    }
    // What went wrong before somebody retried or accepted it is history. Of many files one that waits does not hold up the others.
    let went_wrong = |stage: &&AtWork| stage.attempt > 0 && stage.error.is_some();
    let Some(stage) = seen.at_work.iter().find(|stage| !has_begun || went_wrong(stage)) else { return };
    match (stage.error.as_ref().filter(|_| went_wrong(&stage)), stage.waits_until) {
        (Some(error), until) => {
            standing.tone = "warn";
            standing.say(retried(frame, stage));
            if let Some(until) = until {
                standing.say(at("standing.again", until));
            }
            standing.words = Some(error.clone());
        }
        (None, Some(until)) if until > frame.now => {
            standing.say(at("standing.again", until));
            standing.words.clone_from(&stage.progress);
        }
        _ => standing.words.clone_from(&stage.progress),
    }
}

fn retried(frame: &Frame, stage: &AtWork) -> String {
    let values = [frame.word("stage", &stage.kind).to_owned(), stage.attempt.to_string(), stage.max_attempts.to_string()];
    fill(frame.t("standing.retried"), &values.each_ref().map(String::as_str))
}
