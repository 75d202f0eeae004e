//! What the list's template asks of it.

use bulkhead_shared::{
    db::exports::{Entry, MOST_COUNTED, Turn},
    domain::{export::ExportState, failure::Reason},
};

use super::{
    Exports, Field, Row,
    query::{Asked, RUNNING, RUNNING_WORD},
};
use crate::pages::{format, frame::Frame};

/// A number at a glance, which leads to the exports that it counts.
pub struct Tile {
    pub name: &'static str,
    pub value: String,
    pub more: Option<String>,
    pub url: &'static str,
    /// Worth a colour.
    pub class: &'static str,
}

/// A state to tick.
pub struct Chip {
    pub word: &'static str,
    pub label: &'static str,
    pub count: Option<String>,
    pub ticked: bool,
}

/// A filter that is given, and the list without it.
pub struct Active {
    pub field: Field,
    pub value: String,
    pub not: bool,
    pub url: String,
}

/// The first chips; those of the single running states are among the other filters.
const CHIPS: [&str; 5] = ["queued", RUNNING_WORD, "completed", "failed", "cancelled"];
/// What is offered for `ended`.
const LATELY: [&str; 4] = ["1h", "24h", "7d", "30d"];

impl Exports {
    pub fn tiles(&self) -> [Tile; 6] {
        let (frame, now) = (&self.frame, &self.overview);
        let most = MOST_COUNTED * 10;
        let tile = |name, value, url, class| Tile { name, value, more: None, url, class };
        #[expect(clippy::cast_possible_truncation, reason = "a rate is shown with three digits")]
        let whole = |rate: f64| rate.round() as i64;
        [
            tile("running", format::up_to(now.running, most), "/exports?state=running", if now.running > 0 { "busy" } else { "" }),
            tile("waiting", format::up_to(now.waiting, most), "/exports?state=queued", ""),
            tile("failed", format::up_to(now.failed, most), "/exports?state=failed&ended=24h", if now.failed > 0 { "bad" } else { "" }),
            tile(
                "completed",
                format::up_to(now.completed, most),
                "/exports?state=completed&ended=24h",
                if now.completed > 0 { "good" } else { "" },
            ),
            Tile {
                more: Some(frame.with("tile.bytes", frame.bytes(whole(now.bytes)))),
                ..tile("rate", frame.with("tile.rows", frame.number(whole(now.rows))), "/exports?state=loading", "")
            },
            tile("workers", format::number(now.workers), "/queue", if now.workers == 0 { "bad" } else { "" }),
        ]
    }

    pub fn chips(&self) -> Vec<Chip> {
        let words = self.asked.state_words();
        CHIPS.into_iter().map(|word| self.chip(word, words.contains(&word))).collect()
    }

    /// The single running states.
    pub fn running(&self) -> Vec<Chip> {
        let words = self.asked.state_words();
        RUNNING.into_iter().map(|state| self.chip(state.as_str(), words.contains(&state.as_str()))).collect()
    }

    fn chip(&self, word: &'static str, ticked: bool) -> Chip {
        let is_of = |state: ExportState| state.as_str() == word || (word == RUNNING_WORD && RUNNING.contains(&state));
        Chip { word, label: self.frame.word("state", word), count: self.counted(is_of), ticked }
    }

    /// How many there are in some states; nothing if it was not counted.
    fn counted(&self, of: impl Fn(ExportState) -> bool) -> Option<String> {
        let counts = self.shown.as_ref()?.counts.as_ref()?;
        let n = counts.iter().filter(|count| of(count.state)).map(|count| count.n).sum();
        Some(format::up_to(n, MOST_COUNTED))
    }

    /// How many match.
    pub fn all(&self) -> Option<String> {
        Some(format::up_to(self.shown.as_ref()?.all?, MOST_COUNTED))
    }

    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let entries: &[Entry] = self.shown.as_ref().map_or(&[], |shown| &shown.entries);
        entries.iter().map(|entry| Row { entry, frame: &self.frame })
    }

    pub fn is_filtered(&self) -> bool {
        self.asked.fields().next().is_some()
    }

    /// So many filters besides the text and the chips.
    pub fn others(&self) -> usize {
        let single = self.asked.state_words().iter().any(|word| !CHIPS.contains(word)) || self.asked.negates(Field::State);
        self.asked.fields().filter(|field| !matches!(field, Field::Text | Field::State)).count() + usize::from(single)
    }

    pub fn active(&self) -> Vec<Active> {
        let active = |field| Active {
            field,
            value: said(&self.frame, &self.asked, field),
            not: self.asked.negates(field),
            url: self.asked.without(field).url(),
        };
        self.asked.fields().map(active).collect()
    }

    /// The page with those that come before these in the list.
    pub fn newer(&self) -> Option<String> {
        let shown = self.shown.as_ref().filter(|shown| shown.newer)?;
        Some(self.asked.at(Turn::Newer(shown.entries.first()?.place())).url())
    }

    pub fn older(&self) -> Option<String> {
        let shown = self.shown.as_ref().filter(|shown| shown.older)?;
        Some(self.asked.at(Turn::Older(shown.entries.last()?.place())).url())
    }

    pub fn is_first(&self) -> bool {
        self.shown.as_ref().is_none_or(|shown| !shown.newer)
    }

    /// Each, and whether it is asked for.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, bool)> {
        Reason::ALL.iter().map(|reason| (*reason, self.asked.reason == Some(*reason)))
    }

    /// What is offered for `ended`, and what is asked for besides.
    pub fn lately(&self) -> Vec<&str> {
        let given = self.asked.ended.as_str();
        LATELY.into_iter().chain((!given.is_empty() && !LATELY.contains(&given)).then_some(given)).collect()
    }

    /// A server that is asked for, and is not in the list.
    pub fn other_server(&self) -> Option<&str> {
        let given = &self.asked.source;
        (!given.is_empty() && !self.servers.contains(given)).then_some(given)
    }
}

/// What a filter says, for people.
pub fn said(frame: &Frame, asked: &Asked, field: Field) -> String {
    match field {
        Field::Text => asked.text.clone(),
        Field::State => asked.state_words().into_iter().map(|word| frame.word("state", word)).collect::<Vec<_>>().join(" · "),
        Field::Source => format::host(&asked.source),
        Field::Group => asked.group.clone(),
        Field::Type => asked.resource_type.clone(),
        Field::Reason => asked.reason.map(|reason| frame.word("reason", reason)).unwrap_or_default().to_owned(),
        Field::Submitted => match (asked.from.as_str(), asked.to.as_str()) {
            (from, "") => frame.with("filter.from_day", from),
            ("", to) => frame.with("filter.to_day", to),
            (from, to) => format!("{from} – {to}"),
        },
        Field::Ended => ended(frame, &asked.ended),
        Field::Id => asked.id.clone(),
    }
}

/// `24h`: in the last 24 hours.
pub fn ended(frame: &Frame, text: &str) -> String {
    let (digits, unit) = text.split_at(text.len().saturating_sub(1));
    frame.count(if unit == "d" { "filter.ended.d" } else { "filter.ended.h" }, digits.parse::<i64>().unwrap_or_default())
}
