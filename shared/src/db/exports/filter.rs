//! Which exports are meant: the same conditions for lists, counts and what is done to all that match.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::Operation;
use crate::domain::{export::ExportState, failure::Reason};

/// A condition, or its opposite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Is<T> {
    pub of: T,
    pub not: bool,
}

impl<T> Is<T> {
    #[must_use]
    pub const fn a(of: T) -> Self {
        Self { of, not: false }
    }

    #[must_use]
    pub const fn not(of: T) -> Self {
        Self { of, not: true }
    }
}

/// Which exports; `None` = any. All conditions hold together.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    pub states: Option<Is<Vec<ExportState>>>,
    pub sources: Option<Is<Vec<Uuid>>>,
    pub group_id: Option<Is<String>>,
    /// Asked for by name, or with all others.
    pub resource_type: Option<Is<String>>,
    /// Why it failed.
    pub reason: Option<Is<Reason>>,
    /// When it was submitted.
    pub submitted: Option<Is<Period>>,
    /// When it ended: at or after.
    pub ended_since: Option<Is<DateTime<Utc>>>,
    /// The first and the last id.
    pub ids: Option<Is<(Uuid, Uuid)>>,
    pub text: Option<Is<Meant>>,
    /// One of these.
    pub among: Option<Vec<Uuid>>,
    /// Those that were there at this moment.
    pub standing_at: Option<DateTime<Utc>>,
    /// Those to which it can be done. With `standing_at`: could be done then, as far as that is known.
    pub open_to: Option<Operation>,
}

/// At or after `from`, and before `before`; open where there is none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub from: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
}

/// A place in the list, which is ordered by time and id, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub at: DateTime<Utc>,
    pub id: Uuid,
}

/// What a text finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    sources: Vec<Uuid>,
    groups: Groups,
    ids: Option<(Uuid, Uuid)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Groups {
    Named(Vec<String>),
    /// There are too many to look through their names first.
    Containing(String),
}

/// Names of Groups that are looked through for a text. Each costs one look into an index.
const MOST_NAMES: i64 = 20_000;

/// What a text means: Groups and servers whose name contains it, ids that begin with it.
pub async fn meant(pool: &PgPool, text: &str) -> sqlx::Result<Meant> {
    let sources =
        sqlx::query_scalar!("SELECT id FROM bulkhead.sources WHERE strpos(lower(base_url), lower($1)) > 0", text).fetch_all(pool).await?;
    // From name to name, past all exports of each.
    let found = sqlx::query!(
        r#"WITH RECURSIVE names AS (
               (SELECT group_id, 1::bigint AS n FROM bulkhead.exports
                 WHERE group_id IS NOT NULL AND delete_requested_at IS NULL AND purpose = 'export' ORDER BY group_id LIMIT 1)
               UNION ALL
               SELECT (SELECT e.group_id FROM bulkhead.exports e
                        WHERE e.group_id > names.group_id AND e.delete_requested_at IS NULL AND e.purpose = 'export'
                        ORDER BY e.group_id LIMIT 1), n + 1
                 FROM names WHERE names.group_id IS NOT NULL AND n <= $2)
           SELECT coalesce(array_agg(group_id) FILTER (WHERE strpos(lower(group_id), lower($1)) > 0), '{}') AS "names!: Vec<String>",
                  count(group_id) AS "looked_at!" FROM names"#,
        text,
        MOST_NAMES
    )
    .fetch_one(pool)
    .await?;
    let groups = if found.looked_at > MOST_NAMES { Groups::Containing(text.to_owned()) } else { Groups::Named(found.names) };
    Ok(Meant { sources, groups, ids: ids_beginning(text) })
}

/// The first and the last id that begin so; nothing if none can.
#[must_use]
pub fn ids_beginning(text: &str) -> Option<(Uuid, Uuid)> {
    let text = text.trim().to_ascii_lowercase();
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let dashes_are_right = text.char_indices().all(|(i, c)| c != '-' || [8, 13, 18, 23].contains(&i));
    let all_hex = !digits.is_empty() && digits.len() <= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !all_hex || !dashes_are_right {
        return None;
    }
    let (low, high) = (format!("{digits:0<32}"), format!("{digits:f<32}"));
    Some((low.parse().ok()?, high.parse().ok()?))
}

impl Filter {
    /// The states that it leaves, in their order.
    #[must_use]
    pub fn states_left(&self) -> Vec<ExportState> {
        let all = ExportState::ALL.iter().copied();
        match &self.states {
            None => all.collect(),
            Some(Is { of, not }) => all.filter(|state| of.contains(state) != *not).collect(),
        }
    }

    /// Its conditions on `bulkhead.exports e`, beginning with WHERE. Only those that are given: one query for all of them would be planned
    /// without knowing which, and read past every other export. Exports that are being deleted are left out, and so are checks.
    pub(super) fn push(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(" WHERE e.delete_requested_at IS NULL AND e.purpose = 'export'");
        if self.states.is_some() {
            let states: Vec<String> = self.states_left().iter().map(|state| state.as_str().to_owned()).collect();
            query.push(" AND e.state = ANY(").push_bind(states).push(")");
        }
        self.push_others(query);
    }

    /// Whether anything but the state is asked for.
    pub(super) fn has_others(&self) -> bool {
        let mut query = QueryBuilder::new("");
        self.push_others(&mut query);
        !query.sql().as_str().is_empty()
    }

    /// All but the state.
    pub(super) fn push_others(&self, query: &mut QueryBuilder<Postgres>) {
        condition(query, self.sources.as_ref(), |query, ids| {
            query.push("e.source_id = ANY(").push_bind(ids.clone()).push(")");
        });
        condition(query, self.group_id.as_ref(), |query, id| {
            query.push("e.group_id = ").push_bind(id.clone());
        });
        condition(query, self.resource_type.as_ref(), |query, name| {
            query.push("e.resource_types = '{}' OR ").push_bind(name.clone()).push(" = ANY(e.resource_types)");
        });
        condition(query, self.reason.as_ref(), |query, reason| {
            query.push("e.failure_reason = ").push_bind(reason.as_str());
        });
        condition(query, self.submitted.as_ref(), |query, Period { from, before }| {
            query.push("true");
            if let Some(from) = from {
                query.push(" AND e.created_at >= ").push_bind(*from);
            }
            if let Some(before) = before {
                query.push(" AND e.created_at < ").push_bind(*before);
            }
        });
        condition(query, self.ended_since.as_ref(), |query, since| {
            query.push("e.finished_at >= ").push_bind(*since);
        });
        condition(query, self.ids.as_ref(), |query, (first, last)| {
            query.push("e.id BETWEEN ").push_bind(*first).push(" AND ").push_bind(*last);
        });
        condition(query, self.text.as_ref(), Meant::push);
        if let Some(ids) = &self.among {
            query.push(" AND e.id = ANY(").push_bind(ids.clone()).push(")");
        }
        if let Some(moment) = self.standing_at {
            query.push(" AND e.created_at <= ").push_bind(moment);
        }
        let Some(operation) = self.open_to else { return };
        query.push(match operation {
            Operation::Retry => " AND e.state = 'failed'",
            Operation::Accept => " AND e.state = 'failed' AND e.failure_reason = 'incomplete'",
            Operation::Cancel => " AND e.state NOT IN ('completed', 'cancelled')",
            Operation::Delete => "",
        });
        if let (Operation::Retry | Operation::Accept, Some(moment)) = (operation, self.standing_at) {
            query.push(" AND e.finished_at <= ").push_bind(moment);
        }
    }
}

impl Meant {
    /// Only what can be found is asked for: each has an index of its own.
    fn push(query: &mut QueryBuilder<Postgres>, meant: &Self) {
        query.push("false");
        if !meant.sources.is_empty() {
            query.push(" OR e.source_id = ANY(").push_bind(meant.sources.clone()).push(")");
        }
        match &meant.groups {
            Groups::Named(names) if names.is_empty() => {}
            Groups::Named(names) => {
                query.push(" OR e.group_id = ANY(").push_bind(names.clone()).push(")");
            }
            Groups::Containing(text) => {
                query.push(" OR strpos(lower(e.group_id), lower(").push_bind(text.clone()).push(")) > 0");
            }
        }
        if let Some((first, last)) = meant.ids {
            query.push(" OR e.id BETWEEN ").push_bind(first).push(" AND ").push_bind(last);
        }
    }
}

/// What does not say (a Group of an export of all patients) is not what was asked for, and is its opposite.
fn condition<T>(query: &mut QueryBuilder<Postgres>, is: Option<&Is<T>>, push: impl FnOnce(&mut QueryBuilder<Postgres>, &T)) {
    let Some(is) = is else { return };
    query.push(if is.not { " AND NOT coalesce((" } else { " AND (" });
    push(query, &is.of);
    query.push(if is.not { "), false)" } else { ")" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_a_range() {
        let (first, last) = ids_beginning("0192A").expect("a range");
        assert_eq!(first.to_string(), "0192a000-0000-0000-0000-000000000000");
        assert_eq!(last.to_string(), "0192afff-ffff-ffff-ffff-ffffffffffff");
        let whole = Uuid::now_v7();
        assert_eq!(ids_beginning(&whole.to_string()), Some((whole, whole)));
        for none in ["", "xyz", "0192-", "BMCHealthNet", &"0".repeat(33)] {
            assert_eq!(ids_beginning(none), None, "{none}");
        }
    }
}
