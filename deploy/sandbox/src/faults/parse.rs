//! What goes wrong, read from the text form of a fault.

use anyhow::{Context, Result, bail, ensure};

use super::{
    After, Before, Content, Flood, KickOff, Manifest, Pending, Refusal, RetryAfter, Search, Severity, Token, Transfer, What, Where,
    duration,
};

/// `<what>[=<arg>]`, checked to be possible at `place`.
pub fn what(place: Where, text: &str) -> Result<What> {
    let (name, arg) = match text.split_once('=') {
        Some((name, arg)) => (name, Some(arg)),
        None => (text, None),
    };
    let what = read(name, arg)?.with_context(|| format!("there is no fault \"{name}\", or its argument is wrong or missing"))?;
    let only = match &what {
        What::Before(_) | What::After(_) => place,
        What::KickOff(_) => Where::KickOff,
        What::Manifest(_) | What::Pending(_) => Where::Status,
        What::Content(_) | What::Transfer(_) | What::Flood(_) => Where::File,
        What::Search(_) => Where::Search,
        What::Token(_) => Where::Token,
    };
    ensure!(place == only || place == Where::Any, "\"{name}\" cannot happen there");
    Ok(what)
}

/// Each kind is asked in turn; `None` is no fault of that kind.
fn read(name: &str, arg: Option<&str>) -> Result<Option<What>> {
    // First, because "drop" and "hold" with an argument are of a file's way and without one are before the answer.
    if let Some(fault) = transfer(name, arg)? {
        return Ok(Some(What::Transfer(fault)));
    }
    if let Some(fault) = before(name, arg)? {
        return Ok(Some(What::Before(fault)));
    }
    if let Some(fault) = after(name, arg)? {
        return Ok(Some(What::After(fault)));
    }
    if let Some(fault) = kick_off(name, arg)? {
        return Ok(Some(What::KickOff(fault)));
    }
    if let Some(fault) = manifest(name, arg)? {
        return Ok(Some(What::Manifest(fault)));
    }
    if name == "pending" {
        return Ok(Some(What::Pending(pending(arg)?)));
    }
    if let Some(fault) = flood(name, arg)? {
        return Ok(Some(What::Flood(fault)));
    }
    if let Some(fault) = search(name, arg)? {
        return Ok(Some(What::Search(fault)));
    }
    if let Some(fault) = token(name, arg)? {
        return Ok(Some(What::Token(fault)));
    }
    Ok(content(name, arg).map(What::Content))
}

fn before(name: &str, arg: Option<&str>) -> Result<Option<Before>> {
    Ok(Some(match (name, arg) {
        ("status", Some(arg)) => Before::Refuse(refusal(arg)?),
        ("html", Some(arg)) => Before::Html(status(arg)?),
        ("bare", Some(arg)) => Before::Bare(status(arg)?),
        ("delay", Some(arg)) => Before::Delay(duration(arg)?),
        ("hold", None) => Before::Hold,
        ("drop", None) => Before::Drop,
        ("redirect", _) => Before::Redirect(arg.map(str::to_owned)),
        ("endless-body", None) => Before::EndlessBody,
        ("expired", None) => Before::Refuse(Refusal::new(410, "The export has expired")),
        ("gone", Some(arg)) => Before::Refuse(Refusal::new(status(arg)?, "There is no such file")),
        ("too-recently", _) => Before::Refuse(Refusal::too_recently(arg.map_or(Ok(400), status)?)),
        ("unauthorized", None) => Before::Unauthorized,
        ("too-many-files", None) => Before::Refuse(Refusal::new(413, "Too many files")),
        _ => return Ok(None),
    }))
}

fn after(name: &str, arg: Option<&str>) -> Result<Option<After>> {
    Ok(Some(match (name, arg) {
        ("header", Some(arg)) => {
            let (name, value) = arg.split_once(':').context("a header is <name>: <value>")?;
            let name = name.trim().parse().context("this is no name of a header")?;
            After::Header(name, value.trim().parse().context("this is no value of a header")?)
        }
        ("without-header", Some(arg)) => After::WithoutHeader(arg.trim().parse().context("this is no name of a header")?),
        ("huge-headers", _) => After::HugeHeaders(usize::try_from(arg.map_or(Ok(1_000_000), size)?)?),
        ("success", Some(arg)) => After::Success(status(arg)?),
        _ => return Ok(None),
    }))
}

fn kick_off(name: &str, arg: Option<&str>) -> Result<Option<KickOff>> {
    Ok(Some(match (name, arg) {
        ("hold-after", None) => KickOff::HoldAfter,
        ("drop-after", None) => KickOff::DropAfter,
        ("status-after", Some(arg)) => KickOff::RefuseAfter(refusal(arg)?),
        ("cut-location", None) => KickOff::CutLocation,
        ("relative-location", None) => KickOff::RelativeLocation,
        _ => return Ok(None),
    }))
}

fn manifest(name: &str, arg: Option<&str>) -> Result<Option<Manifest>> {
    Ok(Some(match (name, arg) {
        ("wrong-count", None) => Manifest::WrongCount,
        ("duplicate-across-files", None) => Manifest::DuplicateAcrossFiles,
        ("error-outcome", Some(arg)) => Manifest::ErrorOutcome(severity(arg)?),
        ("outcome-key", None) => Manifest::OutcomeKey,
        ("deleted", Some(arg)) => Manifest::Deleted(number(arg)?),
        ("empty-manifest", None) => Manifest::Empty,
        ("no-output", None) => Manifest::Without("output".to_owned()),
        ("without", Some(arg)) => Manifest::Without(arg.to_owned()),
        ("bare-when-empty", None) => Manifest::BareWhenEmpty,
        ("transaction-time", Some(arg)) => Manifest::TransactionTime(arg.to_owned()),
        ("request", Some(arg)) => Manifest::Request(arg.to_owned()),
        ("relative-urls", None) => Manifest::RelativeUrls,
        ("next-pages", Some(arg)) => Manifest::NextPages(number(arg)?),
        ("next-circle", Some(arg)) => Manifest::NextCircle(number(arg)?),
        ("endless-next", None) => Manifest::EndlessNext,
        ("expires", Some(arg)) => Manifest::Expires(duration(arg)?),
        _ => return Ok(None),
    }))
}

fn content(name: &str, arg: Option<&str>) -> Option<Content> {
    Some(match (name, arg) {
        ("malformed-line", None) => Content::MalformedLine,
        ("nul-escape", None) => Content::NulEscape,
        ("invalid-utf8", None) => Content::InvalidUtf8,
        ("duplicate-ids", None) => Content::DuplicateIds,
        ("wrong-type", None) => Content::WrongType,
        ("bom", None) => Content::Bom,
        ("blank-lines", None) => Content::BlankLines,
        ("no-final-newline", None) => Content::NoFinalNewline,
        _ => return None,
    })
}

fn transfer(name: &str, arg: Option<&str>) -> Result<Option<Transfer>> {
    let bytes = |arg: &str| arg.parse().context("the number of bytes is no number");
    Ok(Some(match (name, arg) {
        ("drop", Some(arg)) => Transfer::DropAfter(bytes(arg)?),
        ("truncate", Some(arg)) => Transfer::Truncate(bytes(arg)?),
        ("slow", Some(arg)) => Transfer::Slow(arg.parse::<u64>().context("the bytes a second are no number")?.max(1)),
        ("hold", Some("half")) => Transfer::HoldHalf,
        ("corrupt-gzip", None) => Transfer::CorruptGzip,
        ("hold" | "corrupt-gzip", Some(_)) => bail!("\"{name}\" has a wrong argument"),
        _ => return Ok(None),
    }))
}

fn flood(name: &str, arg: Option<&str>) -> Result<Option<Flood>> {
    Ok(Some(match (name, arg) {
        ("gzip-bomb", _) => Flood::GzipBomb(arg.map_or(Ok(2_000_000_000), size)?),
        ("long-line", _) => Flood::LongLine(arg.map_or(Ok(100_000_000), size)?),
        ("endless", None) => Flood::Endless,
        _ => return Ok(None),
    }))
}

fn search(name: &str, arg: Option<&str>) -> Result<Option<Search>> {
    Ok(Some(match (name, arg) {
        ("outcome-entry", Some(arg)) => Search::OutcomeEntry(severity(arg)?),
        ("included-entry", None) => Search::IncludedEntry,
        ("wrong-entry", None) => Search::WrongEntry,
        ("overlap", None) => Search::Overlap,
        ("wrong-total", None) => Search::WrongTotal,
        ("missing-next", None) => Search::MissingNext,
        ("relative-next", None) => Search::RelativeNext,
        ("foreign-next", None) => Search::ForeignNext,
        ("circle", Some(arg)) => Search::Circle(number(arg)?),
        ("endless-pages", None) => Search::EndlessPages,
        _ => return Ok(None),
    }))
}

fn token(name: &str, arg: Option<&str>) -> Result<Option<Token>> {
    Ok(Some(match (name, arg) {
        ("narrow", Some(arg)) => Token::Narrow(arg.replace(',', " ")),
        ("no-scope", None) => Token::NoScope,
        ("invalid-scope", None) => Token::InvalidScope,
        ("expires-in", Some(arg)) => Token::ExpiresIn(arg.to_owned()),
        ("expires-in-string", None) => Token::ExpiresInString,
        ("no-expires-in", None) => Token::NoExpiresIn,
        _ => return Ok(None),
    }))
}

fn severity(text: &str) -> Result<Severity> {
    Ok(match text {
        "fatal" => Severity::Fatal,
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        "information" => Severity::Information,
        _ => bail!("\"{text}\" is none of fatal, error, warning, information"),
    })
}

fn number(text: &str) -> Result<usize> {
    let number = text.parse().with_context(|| format!("\"{text}\" is no number"))?;
    ensure!(number > 0, "it must be at least one");
    Ok(number)
}

/// `1000`, `10MB`, `2GB`.
fn size(text: &str) -> Result<u64> {
    crate::config::size(text)
}

/// `503`, `429;retry-after=2`, `503;issue=timeout;text=Try later`.
fn refusal(arg: &str) -> Result<Refusal> {
    let mut parts = arg.split(';');
    let mut refusal = Refusal { status: status(parts.next().unwrap_or_default())?, retry_after: None, issue: None, text: None };
    for part in parts {
        let (key, value) = addition(part)?;
        match key {
            "issue" => refusal.issue = Some(value.to_owned()),
            "text" => refusal.text = Some(value.to_owned()),
            _ => match retry_after(key, value)? {
                Some(after) => refusal.retry_after = Some(after),
                None => bail!("\"{key}\" is none of retry-after, retry-after-date, retry-after-epoch, retry-after-epoch-ms, issue, text"),
            },
        }
    }
    Ok(refusal)
}

/// One more 202: `retry-after=soon;progress=Half of it`.
fn pending(arg: Option<&str>) -> Result<Pending> {
    let mut pending = Pending::default();
    for part in arg.into_iter().flat_map(|arg| arg.split(';')) {
        let (key, value) = addition(part)?;
        match retry_after(key, value)? {
            Some(after) => pending.retry_after = Some(after),
            None if key == "progress" => pending.progress = Some(value.to_owned()),
            None => bail!("\"{key}\" is none of retry-after, retry-after-date, retry-after-epoch, retry-after-epoch-ms, progress"),
        }
    }
    Ok(pending)
}

fn addition(part: &str) -> Result<(&str, &str)> {
    let (key, value) = part.split_once('=').context("an addition after \";\" is <key>=<value>")?;
    Ok((key.trim(), value))
}

/// Both forms that are allowed, and what real servers send instead.
fn retry_after(key: &str, value: &str) -> Result<Option<RetryAfter>> {
    let seconds = || value.parse().context("the seconds of retry-after are no number");
    Ok(Some(match key {
        "retry-after" => value.parse().map_or_else(|_| RetryAfter::Text(value.to_owned()), RetryAfter::Seconds),
        "retry-after-date" => RetryAfter::Date(seconds()?),
        "retry-after-epoch" => RetryAfter::Epoch(seconds()?),
        "retry-after-epoch-ms" => RetryAfter::EpochMillis(seconds()?),
        _ => return Ok(None),
    }))
}

fn status(text: &str) -> Result<u16> {
    let status = text.parse().context("the HTTP status is no number")?;
    ensure!((200..600).contains(&status), "{status} is no HTTP status of an answer");
    Ok(status)
}
