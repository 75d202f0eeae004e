//! The text form of a fault, for `--fault`, for `POST /sandbox/faults` and for tests.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};

use super::{Before, Content, Fault, KickOff, Manifest, Refusal, RetryAfter, Severity, Transfer, What, Where};

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text.trim()).with_context(|| {
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

fn parse(text: &str) -> Result<Fault> {
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
    let what = self::what(place, what)?;
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
            "any" => Self::Any,
            _ => bail!("\"{text}\" is none of token, kick-off, status, file, delete, any"),
        })
    }
}

fn what(place: Where, text: &str) -> Result<What> {
    let (name, arg) = match text.split_once('=') {
        Some((name, arg)) => (name, Some(arg)),
        None => (text, None),
    };
    let what = match (name, arg) {
        ("drop" | "truncate" | "slow" | "corrupt-gzip", _) | ("hold", Some(_)) => transfer(name, arg)?,
        ("bom" | "blank-lines" | "no-final-newline", None) => What::Content(content(name)?),
        _ if name.ends_with("-after") || name.ends_with("-location") => What::KickOff(kick_off(name, arg)?),
        _ => match manifest(name, arg)? {
            Some(manifest) => What::Manifest(manifest),
            None => match before(name, arg)? {
                Some(before) => What::Before(before),
                None => What::Content(content(name)?),
            },
        },
    };
    let only = match &what {
        What::Before(_) => place,
        What::KickOff(_) => Where::KickOff,
        What::Manifest(_) => Where::Status,
        What::Content(_) | What::Transfer(_) => Where::File,
    };
    ensure!(place == only || place == Where::Any, "\"{name}\" cannot happen there");
    Ok(what)
}

fn before(name: &str, arg: Option<&str>) -> Result<Option<Before>> {
    Ok(Some(match (name, arg) {
        ("status", Some(arg)) => Before::Refuse(refusal(arg)?),
        ("html", Some(arg)) => Before::Html(status(arg)?),
        ("delay", Some(arg)) => Before::Delay(duration(arg)?),
        ("hold", None) => Before::Hold,
        ("expired", None) => Before::Refuse(Refusal::new(410, "The export has expired")),
        ("gone", Some(arg)) => Before::Refuse(Refusal::new(status(arg)?, "There is no such file")),
        ("unauthorized", None) => Before::Unauthorized,
        ("too-many-files", None) => Before::Refuse(Refusal::new(413, "Too many files")),
        _ => return Ok(None),
    }))
}

fn kick_off(name: &str, arg: Option<&str>) -> Result<KickOff> {
    Ok(match (name, arg) {
        ("hold-after", None) => KickOff::HoldAfter,
        ("drop-after", None) => KickOff::DropAfter,
        ("status-after", Some(arg)) => KickOff::RefuseAfter(refusal(arg)?),
        ("cut-location", None) => KickOff::CutLocation,
        ("relative-location", None) => KickOff::RelativeLocation,
        _ => bail!("\"{name}\" is no fault of a kick-off, or has a wrong argument"),
    })
}

fn manifest(name: &str, arg: Option<&str>) -> Result<Option<Manifest>> {
    Ok(Some(match (name, arg) {
        ("wrong-count", None) => Manifest::WrongCount,
        ("duplicate-across-files", None) => Manifest::DuplicateAcrossFiles,
        ("error-outcome", Some("warning")) => Manifest::ErrorOutcome(Severity::Warning),
        ("error-outcome", Some("error")) => Manifest::ErrorOutcome(Severity::Error),
        ("empty-manifest", None) => Manifest::Empty,
        ("no-output", None) => Manifest::NoOutput,
        ("next-pages", Some(arg)) => {
            let pages = arg.parse().context("the number of pages is no number")?;
            ensure!(pages > 0, "a manifest has at least one page");
            Manifest::NextPages(pages)
        }
        ("expires", Some(arg)) => Manifest::Expires(duration(arg)?),
        _ => return Ok(None),
    }))
}

fn content(name: &str) -> Result<Content> {
    Ok(match name {
        "malformed-line" => Content::MalformedLine,
        "nul-escape" => Content::NulEscape,
        "invalid-utf8" => Content::InvalidUtf8,
        "duplicate-ids" => Content::DuplicateIds,
        "wrong-type" => Content::WrongType,
        "bom" => Content::Bom,
        "blank-lines" => Content::BlankLines,
        "no-final-newline" => Content::NoFinalNewline,
        _ => bail!("there is no fault \"{name}\", or its argument is wrong or missing"),
    })
}

fn transfer(name: &str, arg: Option<&str>) -> Result<What> {
    let number = || arg.unwrap_or_default().parse().context("the number of bytes is no number");
    Ok(What::Transfer(match (name, arg) {
        ("drop", None) => return Ok(What::Before(Before::Drop)),
        ("drop", Some(_)) => Transfer::DropAfter(number()?),
        ("truncate", _) => Transfer::Truncate(number()?),
        ("slow", Some(arg)) => Transfer::Slow(arg.parse::<u64>().context("the bytes a second are no number")?.max(1)),
        ("hold", Some("half")) => Transfer::HoldHalf,
        ("corrupt-gzip", None) => Transfer::CorruptGzip,
        _ => bail!("\"{name}\" has a wrong argument"),
    }))
}

/// `503`, `429;retry-after=2`, `503;issue=timeout;text=Try later`.
fn refusal(arg: &str) -> Result<Refusal> {
    let mut parts = arg.split(';');
    let mut refusal = Refusal { status: status(parts.next().unwrap_or_default())?, retry_after: None, issue: None, text: None };
    for part in parts {
        let (key, value) = part.split_once('=').context("an addition after \";\" is <key>=<value>")?;
        let seconds = || value.parse().context("the seconds of retry-after are no number");
        match key.trim() {
            "retry-after" => refusal.retry_after = Some(RetryAfter::Seconds(seconds()?)),
            "retry-after-date" => refusal.retry_after = Some(RetryAfter::Date(seconds()?)),
            "issue" => refusal.issue = Some(value.to_owned()),
            "text" => refusal.text = Some(value.to_owned()),
            _ => bail!("\"{key}\" is none of retry-after, retry-after-date, issue, text"),
        }
    }
    Ok(refusal)
}

fn status(text: &str) -> Result<u16> {
    let status = text.parse().context("the HTTP status is no number")?;
    ensure!((200..600).contains(&status), "{status} is no HTTP status of an answer");
    Ok(status)
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
