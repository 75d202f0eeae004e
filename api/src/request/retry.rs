//! The body of `POST /api/bulk-data/retry`: which failed exports are meant.

use bulkhead_shared::{db::exports::FailedFilter, domain::failure::Reason};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::Value;
use url::Url;

use super::{fhir_url::group_segment, fields::Fields};
use crate::problem::Problem;

pub(super) const RETRY_FIELDS: &[&str] = &["status", "group", "source", "reason", "since", "until", "all", "dry_run"];

/// What is to be retried, checked.
#[derive(Debug)]
pub struct Retry {
    pub filter: FailedFilter,
    pub dry_run: bool,
}

/// The body of `POST /api/bulk-data/retry`.
pub fn retry(body: &Value) -> Result<Retry, Problem> {
    let mut fields = Fields::of(body, RETRY_FIELDS)?;
    if let Some(status) = fields.text("status")?
        && status != "failed"
    {
        return Err(Problem::invalid("status must be failed, or be left out: only failed exports can be retried."));
    }
    let filter = FailedFilter {
        group_id: fields.text("group")?.map(|group| group_segment(&group)),
        base_url: fields.text("source")?.map(|url| base_url(&url)),
        reason: fields.text("reason")?.map(|word| reason(&word)).transpose()?,
        since: moment(&mut fields, "since")?,
        until: moment(&mut fields, "until")?,
        all: fields.flag("all")?.unwrap_or(false),
    };
    let filtered = filter.group_id.is_some() || filter.base_url.is_some() || filter.reason.is_some();
    let filtered = filtered || filter.since.is_some() || filter.until.is_some();
    if filter.all && filtered {
        return Err(Problem::invalid("all is given together with a filter; leave one of them out."));
    }
    if !filter.all && !filtered {
        return Err(Problem::invalid(
            "No filter is given. Give group, source, reason, since or until; or \"all\": true to retry every failed export.",
        ));
    }
    if filter.since.zip(filter.until).is_some_and(|(since, until)| since > until) {
        return Err(Problem::invalid("since is later than until; swap them."));
    }
    Ok(Retry { filter, dry_run: fields.flag("dry_run")?.unwrap_or(false) })
}

/// The class of a failure, by its word.
pub fn reason(word: &str) -> Result<Reason, Problem> {
    word.parse().map_err(|_| {
        let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        Problem::invalid(format!("reason must be one of {}.", words.join(", ")))
    })
}

/// A base URL as sources keep it.
pub fn base_url(text: &str) -> String {
    let url = Url::parse(text.trim()).map_or_else(|_| text.trim().to_owned(), String::from);
    url.trim_end_matches('/').replace('\0', "")
}

/// A moment with its time zone, or a date: its first moment, UTC. An empty one is refused: it would silently mean all.
fn moment(fields: &mut Fields, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(value) = fields.take(name) else { return Ok(None) };
    let text = value.as_str().map(str::trim).unwrap_or_default();
    let at = DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc));
    let at = at.or_else(|_| text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc()));
    at.map(Some)
        .map_err(|_| Problem::invalid(format!("{name} must be a moment with its time zone, such as 2026-01-31T08:00:00Z, or a date.")))
}
