//! The address of the list: its filters, and back.
//!
//! `state`, `source`, `group`, `type`, `reason`, `from`, `to`, `ended`, `id`, `q`; `not=NAME` turns one of them round, where `from` and `to`
//! are one called `submitted`. `after` and `before` are places in the list.

use bulkhead_shared::{
    db::{
        exports::{self, Filter, Is, Period, Turn},
        sources,
    },
    domain::{export::ExportState, failure::Reason},
};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use sqlx::PgPool;
use url::form_urlencoded::{self, Serializer};
use uuid::Uuid;

use crate::{
    problem::{Kind, Problem},
    request::{base_url, group_segment, reason},
    routes::jobs::{cursor, read_cursor},
};

/// The states between the beginning and the end; `state=running` is all of them.
pub const RUNNING: [ExportState; 5] =
    [ExportState::Authenticating, ExportState::KickingOff, ExportState::InProgress, ExportState::Downloading, ExportState::Loading];
pub const RUNNING_WORD: &str = "running";

/// A filter that can be turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Text,
    State,
    Source,
    Group,
    Type,
    Reason,
    Submitted,
    Ended,
    Id,
}

impl Field {
    pub const ALL: [Self; 9] =
        [Self::Text, Self::State, Self::Source, Self::Group, Self::Type, Self::Reason, Self::Submitted, Self::Ended, Self::Id];

    /// Its name in `not=`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "q",
            Self::State => "state",
            Self::Source => "source",
            Self::Group => "group",
            Self::Type => "type",
            Self::Reason => "reason",
            Self::Submitted => "submitted",
            Self::Ended => "ended",
            Self::Id => "id",
        }
    }
}

/// What the address asks for. Texts as they were given; empty: not asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub text: String,
    pub states: Vec<ExportState>,
    pub source: String,
    pub group: String,
    pub resource_type: String,
    pub reason: Option<Reason>,
    pub from: String,
    pub to: String,
    /// Such as `24h` or `7d`.
    pub ended: String,
    pub id: String,
    pub not: Vec<Field>,
    pub turn: Turn,
    /// It says something that asks for nothing, as a form does whose fields are empty.
    pub is_wordy: bool,
}

impl Asked {
    /// What is not understood is refused: a filter that is passed over would show, and do, more than was meant.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        Self::of(form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())))
    }

    /// Of the fields of a form, too.
    pub fn of(pairs: impl Iterator<Item = (String, String)>) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in pairs {
            let value = value.trim().replace('\0', "");
            if value.is_empty() {
                asked.is_wordy = true;
                continue;
            }
            asked.take(&name, value)?;
        }
        let given = asked.not.len();
        let not = std::mem::take(&mut asked.not);
        asked.not = Field::ALL.into_iter().filter(|field| not.contains(field) && asked.has(*field)).collect();
        asked.is_wordy |= asked.not.len() < given;
        asked.states.sort_by_key(|state| ExportState::ALL.iter().position(|other| other == state));
        asked.states.dedup();
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), Problem> {
        match name {
            "q" => self.text = value,
            "state" if value == RUNNING_WORD => self.states.extend(RUNNING),
            "state" => self.states.push(value.parse().map_err(|_| one_of("state", ExportState::ALL.iter().map(|state| state.as_str())))?),
            "source" => self.source = base_url(&value),
            "group" => self.group = group_segment(&value),
            "type" => self.resource_type = value,
            "reason" => self.reason = Some(reason(&value)?),
            "from" => self.from = day_or_moment(name, value)?,
            "to" => self.to = day_or_moment(name, value)?,
            "ended" => {
                lately(&value).ok_or_else(|| Problem::invalid("ended must be a number of hours or days, such as 24h or 7d."))?;
                self.ended = value;
            }
            "id" => self.id = value,
            "not" => {
                let field = Field::ALL.into_iter().find(|field| field.word() == value);
                self.not.push(field.ok_or_else(|| one_of("not", Field::ALL.into_iter().map(Field::word)))?);
            }
            "after" => self.turn = Turn::Older(read_cursor(&value)?),
            "before" => self.turn = Turn::Newer(read_cursor(&value)?),
            // A notice's.
            "done" | "failed" | "n" => {}
            _ => {
                let shown: String = name.chars().take(60).collect();
                return Err(Problem::new(
                    Kind::UnknownField,
                    format!("There is no filter {shown:?}; the page's help lists those there are."),
                ));
            }
        }
        Ok(())
    }

    /// Whether a filter is given.
    pub fn has(&self, field: Field) -> bool {
        match field {
            Field::Text => !self.text.is_empty(),
            Field::State => !self.states.is_empty(),
            Field::Source => !self.source.is_empty(),
            Field::Group => !self.group.is_empty(),
            Field::Type => !self.resource_type.is_empty(),
            Field::Reason => self.reason.is_some(),
            Field::Submitted => !self.from.is_empty() || !self.to.is_empty(),
            Field::Ended => !self.ended.is_empty(),
            Field::Id => !self.id.is_empty(),
        }
    }

    /// Whether it is turned round.
    pub fn negates(&self, field: Field) -> bool {
        self.not.contains(&field)
    }

    pub fn negates_word(&self, word: &str) -> bool {
        self.not.iter().any(|field| field.word() == word)
    }

    pub fn is_ended(&self, text: &str) -> bool {
        self.ended == text
    }

    /// The filters that are given.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(|field| self.has(*field))
    }

    /// All but one.
    #[must_use]
    pub fn without(&self, field: Field) -> Self {
        let mut rest = Self { not: self.not.iter().copied().filter(|other| *other != field).collect(), turn: Turn::Newest, ..self.clone() };
        match field {
            Field::Text => rest.text.clear(),
            Field::State => rest.states.clear(),
            Field::Source => rest.source.clear(),
            Field::Group => rest.group.clear(),
            Field::Type => rest.resource_type.clear(),
            Field::Reason => rest.reason = None,
            Field::Submitted => {
                rest.from.clear();
                rest.to.clear();
            }
            Field::Ended => rest.ended.clear(),
            Field::Id => rest.id.clear(),
        }
        rest
    }

    pub fn at(&self, turn: Turn) -> Self {
        Self { turn, ..self.clone() }
    }

    /// The states as words of the address.
    pub fn state_words(&self) -> Vec<&'static str> {
        let all_running = RUNNING.iter().all(|state| self.states.contains(state));
        let single = self.states.iter().filter(|state| !(all_running && RUNNING.contains(state))).map(|state| state.as_str());
        all_running.then_some(RUNNING_WORD).into_iter().chain(single).collect()
    }

    /// Its filters as fields of a form.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let texts = [
            ("q", &self.text),
            ("source", &self.source),
            ("group", &self.group),
            ("type", &self.resource_type),
            ("from", &self.from),
            ("to", &self.to),
            ("ended", &self.ended),
            ("id", &self.id),
        ];
        let states = self.state_words().into_iter().map(|word| ("state", word.to_owned()));
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone()));
        let reason = self.reason.map(|reason| ("reason", reason.as_str().to_owned()));
        let not = self.not.iter().map(|field| ("not", field.word().to_owned()));
        states.chain(texts).chain(reason).chain(not).collect()
    }

    /// Its address, in one spelling.
    pub fn url(&self) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.pairs());
        match self.turn {
            Turn::Newest => {}
            Turn::Older(place) => {
                query.append_pair("after", &cursor(place));
            }
            Turn::Newer(place) => {
                query.append_pair("before", &cursor(place));
            }
        }
        let query = query.finish();
        if query.is_empty() { "/exports".to_owned() } else { format!("/exports?{query}") }
    }

    /// What the database is asked for.
    pub async fn filter(&self, pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Filter> {
        let mut filter = Filter { reason: self.reason.map(|reason| self.is(Field::Reason, reason)), ..Filter::default() };
        if self.has(Field::State) {
            filter.states = Some(self.is(Field::State, self.states.clone()));
        }
        if self.has(Field::Source) {
            filter.sources = Some(self.is(Field::Source, sources::at(pool, &self.source).await?));
        }
        if self.has(Field::Group) {
            filter.group_id = Some(self.is(Field::Group, self.group.clone()));
        }
        if self.has(Field::Type) {
            filter.resource_type = Some(self.is(Field::Type, self.resource_type.clone()));
        }
        if self.has(Field::Submitted) {
            let before = moment(&self.to).map(|(at, is_day)| if is_day { at + Days::new(1) } else { at });
            filter.submitted = Some(self.is(Field::Submitted, Period { from: moment(&self.from).map(|(at, _)| at), before }));
        }
        if let Some(time) = lately(&self.ended) {
            filter.ended_since = Some(self.is(Field::Ended, now - time));
        }
        if self.has(Field::Id) {
            // What begins no id finds none.
            let ids = exports::ids_beginning(&self.id).unwrap_or((Uuid::max(), Uuid::nil()));
            filter.ids = Some(self.is(Field::Id, ids));
        }
        if self.has(Field::Text) {
            filter.text = Some(self.is(Field::Text, exports::meant(pool, &self.text).await?));
        }
        Ok(filter)
    }

    fn is<T>(&self, field: Field, of: T) -> Is<T> {
        if self.negates(field) { Is::not(of) } else { Is::a(of) }
    }
}

fn one_of<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Problem {
    Problem::invalid(format!("{name} must be one of {}.", words.collect::<Vec<_>>().join(", ")))
}

fn day_or_moment(name: &str, text: String) -> Result<String, Problem> {
    if moment(&text).is_some() {
        return Ok(text);
    }
    Err(Problem::invalid(format!("{name} must be a day such as 2026-01-31, or a moment with its time zone such as 2026-01-31T08:00:00Z.")))
}

/// A moment, or a day's first (UTC); and whether it was a day.
fn moment(text: &str) -> Option<(DateTime<Utc>, bool)> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some((at.with_timezone(&Utc), false));
    }
    // Years that Postgres has too.
    let day = text.parse::<NaiveDate>().ok().filter(|_| text.len() == 10)?;
    Some((day.and_time(NaiveTime::MIN).and_utc(), true))
}

/// `24h`, `7d`: at most ten years.
fn lately(text: &str) -> Option<TimeDelta> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let hours = match unit {
        "h" => 1,
        "d" => 24,
        _ => return None,
    };
    let n: i64 = digits.parse().ok().filter(|n| (1..=87_600).contains(n))?;
    TimeDelta::try_hours((n * hours).min(87_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_in_one_spelling() {
        for (given, back) in [
            ("", "/exports"),
            ("q=&state=&not=state&group=", "/exports"),
            ("group=a%20b&state=failed&state=queued&not=group&state=failed", "/exports?state=queued&state=failed&group=a%2520b&not=group"),
            ("state=loading&state=running", "/exports?state=running"),
            ("to=2026-01-31&from=2026-01-01&not=submitted&not=q", "/exports?from=2026-01-01&to=2026-01-31&not=submitted"),
            ("ended=24h&reason=expired&q=+abc+&done=x&n=3", "/exports?q=abc&ended=24h&reason=expired"),
        ] {
            let asked = Asked::parse(given).unwrap();
            assert_eq!(asked.url(), back, "{given}");
            let again = Asked::parse(back.strip_prefix("/exports").unwrap().trim_start_matches('?')).unwrap();
            assert_eq!(again.pairs().len(), asked.pairs().len());
            assert!(!again.is_wordy, "{back}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in
            ["stat=failed", "state=bad", "not=stat", "from=yesterday", "to=2026-02-30", "ended=week", "ended=0h", "reason=x", "after=x"]
        {
            assert!(Asked::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_is_taken_away_with_its_opposite() {
        let asked = Asked::parse("state=failed&not=state&q=x").unwrap();
        assert_eq!(asked.without(Field::State).url(), "/exports?q=x");
    }
}
