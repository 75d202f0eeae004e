//! The text form of a fault, for `--fault`, for `POST /sandbox/faults` and for tests.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};

use super::{Fault, Where, parse};

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        read(text.trim()).with_context(|| {
            format!("cannot read the fault \"{text}\": write <where>:<what>[=<arg>][*<times>][@<part of the path>], for example file:drop=1000*2@Condition")
        })
    }
}

impl TryFrom<&str> for Fault {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

fn read(text: &str) -> Result<Fault> {
    let (place, rest) = text.split_once(':').context("there is no \":\"")?;
    let (rest, on) = match rest.split_once('@') {
        Some((rest, on)) => (rest, Some(on.to_owned())),
        None => (rest, None),
    };
    let (what, times) = match rest.split_once('*') {
        Some((what, "0" | "always")) => (what, None),
        Some((what, times)) => (what, Some(times.parse().context("the times are no number")?)),
        None => (rest, Some(1)),
    };
    let place = place.parse()?;
    let what = parse::what(place, what)?;
    Ok(Fault { place, what, times, on })
}

impl FromStr for Where {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "token" => Self::Token,
            "kick-off" => Self::KickOff,
            "status" => Self::Status,
            "file" => Self::File,
            "delete" => Self::Delete,
            "search" => Self::Search,
            "metadata" => Self::Metadata,
            "discovery" => Self::Discovery,
            "any" => Self::Any,
            _ => bail!("\"{text}\" is none of token, kick-off, status, file, delete, search, metadata, discovery, any"),
        })
    }
}

/// `300ms`, `2s`, `5m`, `1h`, or seconds as a plain number.
pub fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: f64 = digits.parse().with_context(|| format!("\"{text}\" is no time: write 300ms, 2s, 5m or 1h"))?;
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => bail!("\"{unit}\" is no unit of time: write ms, s, m or h"),
    };
    Duration::try_from_secs_f64(number * unit).with_context(|| format!("\"{text}\" is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Before, RetryAfter, Transfer, What};

    #[test]
    fn reads_every_part() {
        let fault: Fault = "file:drop=1000*2@Condition".parse().unwrap();
        assert_eq!(fault.place, Where::File);
        assert_eq!(fault.what, What::Transfer(Transfer::DropAfter(1000)));
        assert_eq!((fault.times, fault.on.as_deref()), (Some(2), Some("Condition")));

        let fault: Fault = "status:status=429;retry-after=2*always".parse().unwrap();
        let What::Before(Before::Refuse(refusal)) = fault.what else { panic!("{fault:?}") };
        assert_eq!(refusal.retry_after, Some(RetryAfter::Seconds(2)));
        assert_eq!(fault.times, None);
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, says) in [
            ("file", "there is no \":\""),
            ("disk:hold", "none of token"),
            ("status:bom", "cannot happen there"),
            ("file:what", "no fault \"what\""),
            ("file:delay=fast", "is no time"),
            ("token:status=99", "no HTTP status"),
        ] {
            let error = format!("{:#}", text.parse::<Fault>().unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
