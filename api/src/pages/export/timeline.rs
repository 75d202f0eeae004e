//! When each phase of an export was at work, when it waited, and when nothing went on: from its stages, which are kept in short when they
//! are purged, and from its story.

use bulkhead_shared::{
    db::{export_events::Interruption, stages::Phase},
    domain::export::{Export, Route},
};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::types::PgInterval;

use crate::pages::frame::Frame;

/// The picture's width, in units of its own.
const WIDTH: i64 = 1000;
/// Cells of the picture: what is shorter is drawn as long as one.
const CELLS: i64 = 240;
const SHORTEST_CELL: i64 = 50_000;
/// A mark's width.
const MARK: i64 = 3;

/// From its submission to its end, or to now.
pub struct Span {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Span {
    pub fn of(frame: &Frame, export: &Export) -> Self {
        let to = export.finished_at.unwrap_or(frame.now);
        Self { from: export.created_at, to: to.max(export.created_at + TimeDelta::milliseconds(100)) }
    }

    fn micros(&self) -> i64 {
        (self.to - self.from).num_microseconds().unwrap_or(i64::MAX)
    }

    /// The length of a cell.
    pub fn cell(&self) -> PgInterval {
        PgInterval { months: 0, days: 0, microseconds: (self.micros() / CELLS).max(SHORTEST_CELL) }
    }

    fn x(&self, at: DateTime<Utc>) -> i64 {
        let micros = (at - self.from).num_microseconds().unwrap_or(i64::MAX);
        i64::try_from(i128::from(micros) * i128::from(WIDTH) / i128::from(self.micros())).unwrap_or(WIDTH).clamp(0, WIDTH)
    }

    /// A rectangle that can be seen.
    fn piece(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Piece {
        let x = self.x(from).min(WIDTH - MARK);
        Piece { x, width: (self.x(to) - x).max(MARK) }
    }
}

/// A rectangle.
pub struct Piece {
    pub x: i64,
    pub width: i64,
}

/// An attempt that failed, or the last one.
pub struct Mark {
    pub x: i64,
    pub is_error: bool,
}

/// A phase, drawn and told.
pub struct Row {
    pub kind: String,
    /// `None`: it has not begun.
    pub began_at: Option<DateTime<Utc>>,
    pub is_live: bool,
    /// Seconds.
    pub took: i64,
    /// Of them those in which nothing was done but wait.
    pub waited: i64,
    pub stages: i64,
    pub runs: i64,
    /// Attempts that failed, and workers that were lost.
    pub broken: usize,
    pub whole: Option<Piece>,
    pub busy: Vec<Piece>,
    pub marks: Vec<Mark>,
}

pub struct Timeline {
    pub rows: Vec<Row>,
    /// It had failed, and waited for somebody to retry it.
    pub still: Vec<Piece>,
    /// Seconds of that.
    pub stood_still: i64,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub is_live: bool,
}

/// The phases in the order they come in; those after the end are not among them.
const ORDER: [&str; 8] = ["auth", "kick_off", "poll", "members", "search", "download", "load", "finish"];

impl Timeline {
    pub fn of(span: &Span, export: &Export, phases: Vec<Phase>, breaks: &[Interruption]) -> Self {
        let mut phases: Vec<Option<Phase>> = phases.into_iter().map(Some).collect();
        let mut rows = Vec::new();
        for kind in ORDER {
            let found = phases.iter_mut().find(|phase| phase.as_ref().is_some_and(|phase| phase.kind == kind)).and_then(Option::take);
            match found {
                Some(phase) => rows.push(row(span, phase, breaks)),
                None if !export.state.has_ended() && expected(export.route, kind) => rows.push(Row::to_come(kind)),
                None => {}
            }
        }
        let still = still(breaks);
        Self {
            rows,
            stood_still: still.iter().map(|(from, to)| (*to - *from).num_seconds()).sum(),
            still: still.into_iter().map(|(from, to)| span.piece(from, to)).collect(),
            from: span.from,
            to: span.to,
            is_live: !export.state.has_ended(),
        }
    }
}

fn expected(route: Route, kind: &str) -> bool {
    match route {
        Route::Bulk => !matches!(kind, "members" | "search"),
        Route::Search => !matches!(kind, "kick_off" | "poll" | "download"),
    }
}

impl Row {
    fn to_come(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            began_at: None,
            is_live: false,
            took: 0,
            waited: 0,
            stages: 0,
            runs: 0,
            broken: 0,
            whole: None,
            busy: Vec::new(),
            marks: Vec::new(),
        }
    }
}

fn row(span: &Span, phase: Phase, breaks: &[Interruption]) -> Row {
    let end = phase.ended_at.unwrap_or(span.to).clamp(phase.began_at, span.to.max(phase.began_at));
    let took = (end - phase.began_at).num_milliseconds();
    let busy: Vec<(DateTime<Utc>, DateTime<Utc>)> = phase.busy_from.into_iter().zip(phase.busy_to).collect();
    let worked: i64 = busy.iter().map(|(from, to)| ((*to).min(end) - (*from).max(phase.began_at)).num_milliseconds().max(0)).sum();
    let is_poll = phase.kind == "poll";
    let own: Vec<&Interruption> = breaks.iter().filter(|one| one.stage.as_ref() == Some(&phase.kind) && one.at >= phase.began_at).collect();
    Row {
        is_live: phase.ended_at.is_none(),
        took: took / 1000,
        // Between two questions the server works, not we.
        waited: if is_poll { took / 1000 } else { (took - worked).max(0) / 1000 },
        stages: phase.stages,
        runs: phase.runs,
        broken: own.len(),
        whole: Some(span.piece(phase.began_at, end)),
        busy: if is_poll {
            Vec::new()
        } else {
            busy.into_iter().map(|(from, to)| span.piece(from.max(phase.began_at), to.min(end))).collect()
        },
        marks: own.iter().map(|one| Mark { x: span.x(one.at).min(WIDTH - MARK), is_error: one.is_error }).collect(),
        began_at: Some(phase.began_at),
        kind: phase.kind,
    }
}

/// From the last failure before a retry to that retry.
fn still(breaks: &[Interruption]) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let mut failed = None;
    let mut found = Vec::new();
    for one in breaks {
        if one.is_error {
            failed = Some(one.at);
        } else if one.goes_on
            && let Some(at) = failed.take()
        {
            found.push((at, one.at));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn told(seconds: i64, stage: Option<&str>, is_error: bool) -> Interruption {
        Interruption { at: at(seconds), stage: stage.map(str::to_owned), is_error, goes_on: stage.is_none() }
    }

    #[test]
    fn it_stood_still_from_its_last_failure_to_its_retry() {
        let breaks = [told(1, Some("load"), true), told(3, Some("finish"), true), told(10, None, false), told(11, Some("load"), false)];
        assert_eq!(still(&breaks), [(at(3), at(10))]);
        assert_eq!(still(&breaks[1..2]), [], "it still does");
    }

    #[test]
    fn a_phase_is_drawn_where_it_was_and_what_it_waited_is_counted() {
        let span = Span { from: at(0), to: at(100) };
        let phase = |kind: &str| Phase {
            kind: kind.to_owned(),
            began_at: at(10),
            ended_at: Some(at(50)),
            stages: 3,
            runs: 4,
            snoozes: 0,
            busy_from: vec![at(10), at(40)],
            busy_to: vec![at(20), at(50)],
        };
        let load = row(&span, phase("load"), &[told(30, Some("load"), false), told(31, Some("poll"), true)]);
        let drawn: Vec<(i64, i64)> = load.busy.iter().map(|piece| (piece.x, piece.width)).collect();
        assert_eq!((load.whole.as_ref().map(|piece| (piece.x, piece.width)), drawn), (Some((100, 400)), vec![(100, 100), (400, 100)]));
        assert_eq!((load.took, load.waited, load.broken, load.marks[0].x), (40, 20, 1, 300));
        let poll = row(&span, phase("poll"), &[]);
        assert_eq!((poll.waited, poll.busy.len()), (40, 0), "a poll waits for its server");
    }
}
