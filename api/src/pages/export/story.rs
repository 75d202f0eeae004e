//! The story: what is at work, then what happened, the newest first; each sentence with its stage, attempt and worker, and what people did.

use bulkhead_shared::db::{
    audit_log,
    export_events::{self, Told},
    stages::AtWork,
};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Asked;

const SENTENCES: usize = 50;

/// A page of the story, and one sentence more to know whether there are more.
pub async fn look(db: &mut PgConnection, export: Uuid, before: Option<i64>) -> sqlx::Result<Vec<Told>> {
    export_events::page(db, export, before, i64::try_from(SENTENCES).unwrap_or(50) + 1).await
}

/// Something that happened.
pub enum Entry {
    Told(Told),
    /// Somebody did something.
    Act(audit_log::Row),
}

impl Entry {
    const fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Told(told) => told.at,
            Self::Act(row) => row.at,
        }
    }
}

pub struct Story {
    pub now: Vec<AtWork>,
    pub entries: Vec<Entry>,
    pub is_later: bool,
    /// Where the page before this one in time begins.
    pub before: Option<i64>,
}

impl Story {
    pub fn of(asked: &Asked, now: Vec<AtWork>, mut told: Vec<Told>, acts: Vec<audit_log::Row>) -> Self {
        let more = told.len() > SENTENCES;
        told.truncate(SENTENCES);
        let before = told.last().filter(|_| more).map(|last| last.id);
        // Each act stands on one page: the one with the sentences around it.
        let (newest, oldest) = (told.first().map(|told| told.at), told.last().map(|told| told.at));
        let is_later = asked.before.is_some();
        let belongs = |at: DateTime<Utc>| {
            (!is_later || newest.is_some_and(|newest| at <= newest)) && (!more || oldest.is_some_and(|oldest| at >= oldest))
        };
        let mut entries: Vec<Entry> = told.into_iter().map(Entry::Told).collect();
        entries.extend(acts.into_iter().filter(|row| belongs(row.at)).map(Entry::Act));
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.at()));
        Self { now: if is_later { Vec::new() } else { now }, entries, is_later, before }
    }
}
