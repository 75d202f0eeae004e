//! A question as it stands in a URL.

use url::form_urlencoded;
use uuid::Uuid;

use super::{
    filters::{self, Filters, Picked},
    period::By,
    table::CHARTS,
};
use crate::problem::{Kind, Problem};

/// So many exports side by side can still be told apart.
pub const MOST_JOBS: i64 = 20;
const MOST_PICKED: usize = 50;
const DEFAULT_TOP: usize = 20;

pub const PARAMETERS: &[&str] = &[
    "etl_job_id",
    "latest",
    "gender",
    "age",
    "condition",
    "observation",
    "medication",
    "class",
    "period",
    "resource_type",
    "by",
    "bands",
    "top",
    "values_of",
    "format",
];

/// Of which exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jobs {
    Some(Vec<Uuid>),
    /// The latest completed one of each Group.
    LatestOfGroups,
}

/// How ages are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bands {
    /// Years each; one for everybody of 100 and older.
    Years(i32),
    /// 0 to 17, 18 to 39, 40 to 64, 65 and older.
    Life,
}

impl Bands {
    pub const ALL: [Self; 4] = [Self::Years(5), Self::Years(10), Self::Years(20), Self::Life];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Years(5) => "5",
            Self::Years(20) => "20",
            Self::Years(_) => "10",
            Self::Life => "life",
        }
    }

    /// The band of an age: from and to, both included.
    pub fn of(self, age: i32) -> (i32, Option<i32>) {
        match self {
            Self::Years(_) if age >= 100 => (100, None),
            Self::Years(years) => (age / years * years, Some(age / years * years + years - 1)),
            Self::Life => match age {
                ..18 => (0, Some(17)),
                18..40 => (18, Some(39)),
                40..65 => (40, Some(64)),
                _ => (65, None),
            },
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub jobs: Jobs,
    pub filters: Filters,
    pub by: By,
    pub bands: Bands,
    /// Codes a chart shows.
    pub top: usize,
    /// The observation whose values are shown; without it the one that was picked, else the most frequent one.
    pub values_of: Option<Picked>,
    pub csv: bool,
    /// As given: what was picked, for whoever shows it.
    pub picked: Vec<(String, String)>,
}

impl Question {
    /// Reads a query. Some exports must be named.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut ids = Vec::new();
        let mut latest = false;
        let mut question = Self {
            jobs: Jobs::LatestOfGroups,
            filters: Filters::default(),
            by: By::default(),
            bands: Bands::Years(10),
            top: DEFAULT_TOP,
            values_of: None,
            csv: false,
            picked: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "etl_job_id" => {
                    for id in value.split(',').map(str::trim).filter(|id| !id.is_empty()) {
                        ids.push(crate::routes::job_id(id)?);
                    }
                }
                "latest" if value == "groups" => latest = true,
                "latest" => return Err(Problem::invalid("latest must be groups: the latest completed export of each Group.")),
                "by" => question.by = word(&value, "by", &By::ALL, By::as_str)?,
                "bands" => question.bands = word(&value, "bands", &Bands::ALL, Bands::as_str)?,
                "top" => question.top = top(&value)?,
                "values_of" => question.values_of = Some(picked(&value)),
                "format" => question.csv = value == "csv",
                _ => question.pick(&name, &value)?,
            }
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() != latest {
            return Err(Problem::invalid(
                "Say which exports: etl_job_id (once, or several times to compare), or latest=groups; /api/bulk-data/jobs lists those there are.",
            ));
        }
        if i64::try_from(ids.len()).unwrap_or(i64::MAX) > MOST_JOBS {
            return Err(Problem::invalid(format!("At most {MOST_JOBS} exports can be compared at once; name fewer.")));
        }
        if !latest {
            question.jobs = Jobs::Some(ids);
        }
        if question.values_of.is_none() {
            question.values_of = question.filters.observations.first().cloned();
        }
        Ok(question)
    }

    fn pick(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let filters = &mut self.filters;
        match name {
            "gender" => filters.genders.push(picked(value)),
            "condition" => filters.conditions.push(picked(value)),
            "observation" => filters.observations.push(picked(value)),
            "medication" => filters.medications.push(picked(value)),
            "class" => filters.classes.push(picked(value)),
            "resource_type" => filters.resource_types.push(value.to_owned()),
            "age" => {
                let age = filters::age(value);
                filters.ages.push(age.ok_or_else(|| {
                    Problem::invalid("age must be a range of years like 30-39, or 90- for 90 and older; empty: not given.")
                })?);
            }
            "period" => {
                let time = filters::time(value);
                filters.periods.push(time.ok_or_else(|| {
                    Problem::invalid("period must be a year (2019), a quarter (2019-Q1) or a month (2019-03); empty: not given.")
                })?);
            }
            _ => return Err(unknown(name)),
        }
        if self.picked.len() == MOST_PICKED {
            return Err(Problem::invalid(format!("At most {MOST_PICKED} values can be picked at once; pick fewer.")));
        }
        self.picked.push((name.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// Nothing is a value too: what was not given.
fn picked(value: &str) -> Picked {
    (!value.is_empty()).then(|| value.to_owned())
}

fn word<T: Copy>(value: &str, name: &str, all: &[T], written: impl Fn(T) -> &'static str) -> Result<T, Problem> {
    all.iter().copied().find(|one| written(*one) == value).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|one| written(*one)).collect();
        Problem::invalid(format!("{name} must be one of {}.", words.join(", ")))
    })
}

fn top(value: &str) -> Result<usize, Problem> {
    if value == "all" {
        return Ok(usize::MAX);
    }
    value
        .parse()
        .ok()
        .filter(|top| (1..=1000).contains(top))
        .ok_or_else(|| Problem::invalid("top must be a number from 1 to 1000, or all."))
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(60).collect();
    Problem::new(Kind::UnknownField, format!("unknown query parameter {shown:?}; known ones are {}.", PARAMETERS.join(", ")))
}

/// The chart that a path names.
pub fn chart(name: &str) -> Result<&'static str, Problem> {
    CHARTS
        .iter()
        .copied()
        .find(|chart| *chart == name)
        .ok_or_else(|| Problem::new(Kind::NotFound, format!("There is no such chart; there are {}.", CHARTS.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::filters::{Age, Time};

    const JOB: &str = "etl_job_id=019b0000-0000-7000-8000-000000000000";

    #[test]
    fn a_question_is_read_with_all_its_filters() {
        let question = Question::parse(&format!(
            "{JOB}&gender=female&gender=&age=30-39&age=90-&period=2019-Q1&observation=8302-2&by=month&bands=life&top=all"
        ))
        .unwrap();
        assert_eq!(question.filters.genders, [Some("female".to_owned()), None]);
        assert_eq!(question.filters.ages, [Age::Between(30, 39), Age::Between(90, i32::MAX)]);
        assert_eq!(question.filters.periods, [Time::Between(17897, 17987)]);
        assert_eq!(question.values_of, Some(Some("8302-2".to_owned())), "what was picked is what is shown");
        assert_eq!((question.by, question.bands, question.top), (By::Month, Bands::Life, usize::MAX));
        assert_eq!(question.picked.len(), 6);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (query, says) in [
            ("", "Say which exports"),
            ("etl_job_id=x", "not a UUID"),
            (&format!("{JOB}&latest=groups"), "Say which exports"),
            (&format!("{JOB}&age=old"), "30-39"),
            (&format!("{JOB}&period=2019-13"), "2019-Q1"),
            (&format!("{JOB}&by=day"), "month, quarter, year"),
            (&format!("{JOB}&colour=red"), "\"colour\""),
        ] {
            let detail = Question::parse(query).unwrap_err().detail;
            assert!(detail.contains(says), "{query}: {detail}");
        }
    }

    #[test]
    fn every_age_has_one_band_and_bands_do_not_overlap() {
        for bands in Bands::ALL {
            let mut last = (-1, Some(-1));
            for age in 0..130 {
                let band = bands.of(age);
                assert!(band.0 <= age && band.1.is_none_or(|to| age <= to), "{bands:?} {age}: {band:?}");
                if band != last {
                    assert_eq!(last.1.map(|to| to + 1), Some(band.0), "{bands:?} {age}");
                    last = band;
                }
            }
        }
    }
}
