//! `GET /failures`: what failed and why, over time; and what went wrong on the way and was tried again, so that a flaky server is seen before
//! it fails an export.

use std::{collections::BTreeMap, sync::Arc};

use askama::{Template, filters::Safe};
use axum::extract::{Query, State};
use bulkhead_shared::db::{
    export_events::troubles::{self, AtSource, Bar},
    exports,
};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::postgres::types::PgInterval;

use super::{
    format,
    frame::Frame,
    page::{Answer, page},
};
use crate::ApiState;

/// Servers that are named in a row.
const SERVERS: i64 = 3;
/// The picture's height, in units of its own.
const HEIGHT: i64 = 160;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    range: String,
}

/// How far back, and in what steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Day,
    Week,
    Month,
}

impl Range {
    const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    const fn word(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|range| range.word() == word).unwrap_or(Self::Week)
    }

    /// Spans, and the hours of one.
    const fn spans(self) -> (i32, i64) {
        match self {
            Self::Day => (24, 1),
            Self::Week => (28, 6),
            Self::Month => (30, 24),
        }
    }

    fn step(self) -> TimeDelta {
        TimeDelta::hours(self.spans().1)
    }

    /// The beginning of the first span; the last one is not over.
    fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.duration_trunc(self.step()).unwrap_or(now) - self.step() * (self.spans().0 - 1)
    }

    fn interval(self) -> PgInterval {
        PgInterval { months: 0, days: 0, microseconds: self.spans().1 * 3_600_000_000 }
    }

    /// How a span is named.
    const fn format(self) -> &'static str {
        match self {
            Self::Day => "%H:00",
            Self::Week => "%m-%d %H:00",
            Self::Month => "%m-%d",
        }
    }
}

/// A class of failures: a row of a table and a colour of a picture.
struct Class {
    reason: String,
    /// The place of its colour.
    colour: usize,
    count: i64,
    /// Files that were given up.
    files: i64,
    exports: i64,
    sources: i64,
    servers: Vec<AtSource>,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
}

/// A piece of a bar.
struct Piece {
    colour: usize,
    y: i64,
    height: i64,
}

/// A span of time: a bar, and a row of the table.
struct Span {
    label: String,
    at: DateTime<Utc>,
    x: i32,
    pieces: Vec<Piece>,
    /// By class, in the order of the classes.
    counts: Vec<i64>,
    total: i64,
}

/// A picture and its twin.
struct Chart {
    spans: Vec<Span>,
    highest: i64,
    width: i32,
}

struct Part {
    /// Names its texts and its parts of the page.
    name: &'static str,
    total: i64,
    classes: Vec<Class>,
    chart: Chart,
}

#[derive(Template)]
#[template(path = "failures.html")]
struct Failures {
    frame: Frame,
    range: Range,
    feed: &'static str,
    parts: [Part; 2],
}

impl Failures {
    /// How long ago; and when, to the second. (Templates pass references of references.)
    fn ago(&self, at: &DateTime<Utc>) -> Safe<String> {
        self.frame.ago(at)
    }

    #[expect(clippy::unused_self, reason = "the template has the page")]
    fn absolute(&self, at: &DateTime<Utc>) -> String {
        format::absolute(*at)
    }
}

pub async fn read(State(state): State<Arc<ApiState>>, frame: Frame, Query(asked): Query<Asked>) -> Answer {
    let range = Range::of(&asked.range);
    let from = range.from(frame.now);
    let mut tx = state.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let bars = exports::failure_bars(&mut *tx, from, range.interval()).await?;
    let classes = exports::failure_classes(&mut *tx, from).await?;
    let servers = exports::failure_sources(&mut *tx, from, SERVERS).await?;
    let failed = classes.into_iter().map(|class| Class {
        colour: 0,
        count: class.exports,
        files: 0,
        exports: class.exports,
        sources: class.sources,
        servers: Vec::new(),
        first_at: class.first_at,
        last_at: class.last_at,
        reason: class.reason,
    });
    let failed = Part::of("failed", range, from, failed.collect(), servers, &bars);
    let bars = troubles::bars(&mut *tx, from, range.interval()).await?;
    let classes = troubles::classes(&mut *tx, from).await?;
    let servers = troubles::sources(&mut *tx, from, SERVERS).await?;
    tx.rollback().await?;
    let met = classes.into_iter().map(|class| Class {
        colour: 0,
        count: class.attempts,
        files: class.files,
        exports: class.exports,
        sources: class.sources,
        servers: Vec::new(),
        first_at: class.first_at,
        last_at: class.last_at,
        reason: class.reason,
    });
    let met = Part::of("troubles", range, from, met.collect(), servers, &bars);
    page(&Failures { frame, range, feed: "/events", parts: [failed, met] })
}

impl Part {
    fn of(name: &'static str, range: Range, from: DateTime<Utc>, mut classes: Vec<Class>, servers: Vec<AtSource>, bars: &[Bar]) -> Self {
        for (n, class) in classes.iter_mut().enumerate() {
            class.colour = n % 8 + 1;
        }
        for server in servers {
            if let Some(class) = classes.iter_mut().find(|class| class.reason == server.reason) {
                class.servers.push(server);
            }
        }
        let total = classes.iter().map(|class| class.count + class.files).sum();
        Self { name, total, chart: Chart::of(range, from, &classes, bars), classes }
    }
}

impl Chart {
    fn of(range: Range, from: DateTime<Utc>, classes: &[Class], bars: &[Bar]) -> Self {
        let mut counts: BTreeMap<(DateTime<Utc>, &str), i64> = BTreeMap::new();
        for bar in bars {
            *counts.entry((bar.at, &bar.reason)).or_default() += bar.count;
        }
        let (spans, _) = range.spans();
        let mut all: Vec<Span> = (0..spans)
            .map(|n| {
                let at = from + range.step() * n;
                let counts: Vec<i64> =
                    classes.iter().map(|class| counts.get(&(at, class.reason.as_str())).copied().unwrap_or_default()).collect();
                Span { label: at.format(range.format()).to_string(), at, x: n * 20, pieces: Vec::new(), total: counts.iter().sum(), counts }
            })
            .collect();
        let highest = all.iter().map(|span| span.total).max().unwrap_or_default().max(1);
        for span in &mut all {
            let mut below = 0;
            for (class, count) in classes.iter().zip(&span.counts).filter(|(_, count)| **count > 0) {
                let (from, to) = (below * HEIGHT / highest, (below + count) * HEIGHT / highest);
                // What is there is seen.
                let height = (to - from).max(2);
                span.pieces.push(Piece { colour: class.colour, y: (HEIGHT - from - height).max(0), height });
                below += count;
            }
        }
        Self { spans: all, highest, width: spans * 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_begin_at_full_hours_and_the_last_one_holds_now() {
        let now = DateTime::from_timestamp(1_700_000_123, 0).unwrap();
        for range in Range::ALL {
            let (spans, _) = range.spans();
            let from = range.from(now);
            assert!(from + range.step() * (spans - 1) <= now && now < from + range.step() * spans, "{range:?}");
            assert_eq!(from.timestamp() % 3600, 0);
        }
    }

    #[test]
    fn pieces_of_a_bar_stand_on_one_another_and_the_highest_bar_fills_the_picture() {
        let at = Range::Day.from(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
        let class = |reason: &str, colour| Class {
            reason: reason.to_owned(),
            colour,
            count: 0,
            files: 0,
            exports: 0,
            sources: 0,
            servers: Vec::new(),
            first_at: at,
            last_at: at,
        };
        let bar = |reason: &str, count| Bar { at, reason: reason.to_owned(), count };
        let chart = Chart::of(Range::Day, at, &[class("limit", 1), class("internal", 2)], &[bar("internal", 1), bar("limit", 3)]);
        let pieces: Vec<(usize, i64, i64)> = chart.spans[0].pieces.iter().map(|p| (p.colour, p.y, p.height)).collect();
        assert_eq!(pieces, [(1, 40, 120), (2, 0, 40)]);
        assert_eq!((chart.spans[0].counts.as_slice(), chart.spans[0].total, chart.spans[1].total), ([3, 1].as_slice(), 4, 0));
    }
}
