//! `/audit`: who did and saw what, for admins; the newest first, page by page.

use std::sync::Arc;

use askama::{Template, filters::Safe};
use axum::extract::{Query, State};
use bulkhead_shared::{
    db::{
        audit_log::{self, Filter, Row},
        users::{self, User},
    },
    domain::audit::Act,
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{
    format,
    frame::Frame,
    page::{Answer, page},
    sentence,
};
use crate::ApiState;

const ROWS: usize = 50;

/// The filter as it stands in the address; what cannot be read filters nothing out, and the form shows it empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    actor: String,
    act: String,
    object: String,
    /// Days, both inclusive, UTC.
    from: String,
    to: String,
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    wanted: Wanted,
    rows: Vec<Row>,
    /// To choose from.
    users: Vec<User>,
    older: Option<String>,
}

impl Audit {
    fn sentence(&self, row: &Row) -> Safe<String> {
        sentence::of(&self.frame, row)
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn absolute(&self, row: &Row) -> String {
        format::absolute(row.at)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates give references")]
    fn is_act(&self, act: &Act) -> bool {
        self.wanted.act() == Some(*act)
    }
}

fn given(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// The first moment of a day, or of the day after it.
fn day(text: &str, after: u64) -> Option<DateTime<Utc>> {
    let day: NaiveDate = text.trim().parse().ok()?;
    Some(day.checked_add_days(Days::new(after))?.and_hms_opt(0, 0, 0)?.and_utc())
}

impl Wanted {
    fn act(&self) -> Option<Act> {
        self.act.parse().ok()
    }

    fn filter(&self) -> Filter<'_> {
        Filter {
            actor: given(&self.actor),
            act: self.act(),
            object: given(&self.object),
            since: day(&self.from, 0),
            until: day(&self.to, 1),
            before: self.before,
        }
    }

    /// Whether anything is left out.
    fn filters(&self) -> bool {
        let Filter { actor, act, object, since, until, before: _ } = self.filter();
        actor.is_some() || act.is_some() || object.is_some() || since.is_some() || until.is_some()
    }

    /// The address of the entries that match, of those before one.
    fn address(&self, before: Option<i64>) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("actor", &self.actor), ("act", &self.act), ("object", &self.object), ("from", &self.from), ("to", &self.to)]
        {
            if let Some(value) = given(value) {
                query.append_pair(name, value);
            }
        }
        if let Some(id) = before {
            query.append_pair("before", &id.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/audit".to_owned() } else { format!("/audit?{query}") }
    }

    fn newest(&self) -> String {
        self.address(None)
    }
}

pub async fn list(State(state): State<Arc<ApiState>>, frame: Frame, Query(wanted): Query<Wanted>) -> Answer {
    let mut rows = audit_log::page(&state.pool, &wanted.filter(), i64::try_from(ROWS + 1).unwrap_or(i64::MAX)).await?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let older = rows.last().filter(|_| more).map(|last| wanted.address(Some(last.id)));
    let users = users::list(&state.pool).await?;
    page(&Audit { frame, wanted, rows, users, older })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_where_the_next_begins() {
        let wanted = Wanted { from: "2026-11-26".to_owned(), to: "2026-11-26".to_owned(), ..Wanted::default() };
        let filter = wanted.filter();
        assert_eq!(format::absolute(filter.since.unwrap()), "2026-11-26 00:00:00 UTC");
        assert_eq!(format::absolute(filter.until.unwrap()), "2026-11-27 00:00:00 UTC");
        assert!(wanted.filters());
        let nonsense = Wanted { from: "yesterday".to_owned(), to: "9999999-01-01".to_owned(), act: "x".to_owned(), ..Wanted::default() };
        assert!(!nonsense.filters());
    }

    #[test]
    fn a_page_keeps_its_filter() {
        let wanted = Wanted { actor: " ann & ben ".to_owned(), to: "2026-11-26".to_owned(), before: Some(9), ..Wanted::default() };
        assert_eq!(wanted.address(Some(7)), "/audit?actor=ann+%26+ben&to=2026-11-26&before=7");
        assert_eq!(wanted.newest(), "/audit?actor=ann+%26+ben&to=2026-11-26");
    }
}
