//! Days, months, quarters and years, in UTC.

use bulkhead_shared::db::summaries::NOT_GIVEN;
use chrono::{Datelike as _, Months, NaiveDate};
use serde::Serialize;
use utoipa::ToSchema;

/// How points in time are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Month,
    Quarter,
    #[default]
    Year,
}

impl By {
    pub const ALL: [Self; 3] = [Self::Month, Self::Quarter, Self::Year];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The period of a day, as a number that sorts. `None`: not given.
    pub fn period(self, day: i32) -> Option<i32> {
        let date = date(day)?;
        let month = date.month0().cast_signed();
        Some(match self {
            Self::Month => date.year() * 12 + month,
            Self::Quarter => date.year() * 4 + month / 3,
            Self::Year => date.year(),
        })
    }

    /// A period as it is written: `2019-03`, `2019-Q1`, `2019`.
    pub fn write(self, period: i32) -> String {
        match self {
            Self::Month => format!("{:04}-{:02}", period.div_euclid(12), period.rem_euclid(12) + 1),
            Self::Quarter => format!("{:04}-Q{}", period.div_euclid(4), period.rem_euclid(4) + 1),
            Self::Year => format!("{period:04}"),
        }
    }
}

/// A day of a summary.
pub fn date(day: i32) -> Option<NaiveDate> {
    if day == NOT_GIVEN { None } else { NaiveDate::from_epoch_days(day) }
}

/// The days of a period as it is written, the last one not included.
pub fn days(written: &str) -> Option<(i32, i32)> {
    let (year, rest) = written.split_at_checked(4)?;
    let year: i32 = year.parse().ok()?;
    let (month, months) = match rest.strip_prefix('-') {
        None if rest.is_empty() => (1, 12),
        None => return None,
        Some(rest) => match rest.strip_prefix('Q') {
            Some(quarter) => (quarter.parse::<u32>().ok().filter(|quarter| (1..=4).contains(quarter))? * 3 - 2, 3),
            None => (rest.parse().ok().filter(|_| rest.len() == 2)?, 1),
        },
    };
    let first = NaiveDate::from_ymd_opt(year, month, 1)?;
    Some((first.to_epoch_days(), first.checked_add_months(Months::new(months))?.to_epoch_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_read_as_it_was_written() {
        for (by, day, written) in [
            (By::Month, "2019-03-31", "2019-03"),
            (By::Quarter, "2019-12-01", "2019-Q4"),
            (By::Year, "1931-01-01", "1931"),
            (By::Month, "1969-12-31", "1969-12"),
        ] {
            let day = day.parse::<NaiveDate>().unwrap().to_epoch_days();
            assert_eq!(by.write(by.period(day).unwrap()), written);
            let (from, to) = days(written).unwrap();
            assert!((from..to).contains(&day), "{written}");
        }
        assert_eq!(By::Year.period(NOT_GIVEN), None);
        for wrong in ["", "19", "2019-13", "2019-Q5", "2019-3", "2019x", "jaän"] {
            assert_eq!(days(wrong), None, "{wrong}");
        }
    }
}
