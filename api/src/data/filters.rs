//! What was picked: each filter chooses people, all of them together those who meet every one.

use super::period;

/// A value that was picked; `None`: not given.
pub type Picked = Option<String>;

/// An age in years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// From and to, both included.
    Between(i32, i32),
    NotGiven,
}

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Days since 1970, the last one not included.
    Between(i32, i32),
    NotGiven,
}

/// Of each list one value is enough; of the filters all must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    pub genders: Vec<Picked>,
    pub ages: Vec<Age>,
    pub conditions: Vec<Picked>,
    pub observations: Vec<Picked>,
    pub medications: Vec<Picked>,
    /// Of one encounter, with `periods`.
    pub classes: Vec<Picked>,
    pub periods: Vec<Time>,
    pub resource_types: Vec<String>,
}

/// A chart's own filter, as a bit: who meets it has the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimension(u8);

impl Dimension {
    pub const NONE: Self = Self(0);
    /// Gender and age.
    pub const PERSON: Self = Self(1);
    pub const CONDITION: Self = Self(2);
    pub const ENCOUNTER: Self = Self(4);
    pub const OBSERVATION: Self = Self(8);
    pub const MEDICATION: Self = Self(16);
    pub const RESOURCE: Self = Self(32);

    pub const fn bit(self) -> u8 {
        self.0
    }
}

impl Filters {
    /// The filters in force.
    pub fn active(&self) -> u8 {
        [
            (Dimension::PERSON, !self.genders.is_empty() || !self.ages.is_empty()),
            (Dimension::CONDITION, !self.conditions.is_empty()),
            (Dimension::ENCOUNTER, !self.classes.is_empty() || !self.periods.is_empty()),
            (Dimension::OBSERVATION, !self.observations.is_empty()),
            (Dimension::MEDICATION, !self.medications.is_empty()),
            (Dimension::RESOURCE, !self.resource_types.is_empty()),
        ]
        .into_iter()
        .filter(|(_, active)| *active)
        .fold(0, |all, (dimension, _)| all | dimension.bit())
    }

    pub fn gender(&self, gender: Option<&str>) -> bool {
        self.genders.is_empty() || self.genders.iter().any(|picked| picked.as_deref() == gender)
    }

    pub fn age(&self, age: Option<i32>) -> bool {
        let fits = |picked: &Age| match (picked, age) {
            (Age::Between(from, to), Some(age)) => (from..=to).contains(&&age),
            (Age::NotGiven, None) => true,
            _ => false,
        };
        self.ages.is_empty() || self.ages.iter().any(fits)
    }

    pub fn class(&self, class: Option<&str>) -> bool {
        self.classes.is_empty() || self.classes.iter().any(|picked| picked.as_deref() == class)
    }

    pub fn day(&self, day: i32) -> bool {
        let fits = |picked: &Time| match picked {
            Time::Between(from, to) => (*from..*to).contains(&day),
            Time::NotGiven => period::date(day).is_none(),
        };
        self.periods.is_empty() || self.periods.iter().any(fits)
    }
}

/// `30-39`, `90-` (and older), or nothing: not given.
pub fn age(text: &str) -> Option<Age> {
    if text.is_empty() {
        return Some(Age::NotGiven);
    }
    let (from, to) = text.split_once('-')?;
    let from = from.parse().ok()?;
    let to = if to.is_empty() { i32::MAX } else { to.parse().ok()? };
    (0 <= from && from <= to).then_some(Age::Between(from, to))
}

/// `2019`, `2019-Q1`, `2019-03`, or nothing: not given.
pub fn time(text: &str) -> Option<Time> {
    if text.is_empty() {
        return Some(Time::NotGiven);
    }
    period::days(text).map(|(from, to)| Time::Between(from, to))
}
