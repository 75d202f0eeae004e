//! The list of exports as people read it: what each does now, how far it is, and how many there are, without hurting the database.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::filter::{Filter, Place};
use crate::{
    db::{at_most, took_too_long},
    domain::export::ExportState,
};

/// Nobody waits longer for a page of the list.
const LONGEST: Duration = Duration::from_secs(8);
/// Nor for its counts: without them the page is shown all the same.
const LONGEST_COUNT: Duration = Duration::from_millis(400);
/// Before something is done to all that match, they are counted to the last.
const LONGEST_EXACT: Duration = Duration::from_secs(15);
/// Counting ends here.
pub const MOST_COUNTED: i64 = 1000;

/// Nor is more walked through to tell states apart.
const LONGEST_WALK: i64 = 5000;

/// Where a page of the list begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Turn {
    #[default]
    Newest,
    /// Below this place.
    Older(Place),
    /// Above it.
    Newer(Place),
}

/// An export in the list.
#[derive(Debug, FromRow)]
pub struct Entry {
    pub id: Uuid,
    pub base_url: String,
    pub level: String,
    pub group_id: Option<String>,
    pub resource_types: Vec<String>,
    pub state: String,
    pub failure_reason: Option<String>,
    pub failure_detail: Option<String>,
    pub waits_for: Option<Uuid>,
    /// Its manifest may name more files.
    pub manifest_complete: bool,
    pub accepted_at: Option<DateTime<Utc>>,
    pub restarts: i32,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub files: i64,
    /// Downloaded, and every part of them loaded.
    pub files_done: i64,
    /// Uncompressed, so far.
    pub bytes: i64,
    /// Of its output files.
    pub rows: i64,
    /// What it does at present, or where it stopped: of several stages the one with most attempts.
    pub attempt: Option<i32>,
    pub max_attempts: Option<i32>,
    /// When the next attempt begins, if it has to wait for it.
    pub next_at: Option<DateTime<Utc>>,
    /// What it last said of itself: the server's `X-Progress`, or why it waits.
    pub progress: Option<String>,
    /// Until when its server refuses this kick-off.
    pub cool_down: Option<DateTime<Utc>>,
}

impl Entry {
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { at: self.created_at, id: self.id }
    }
}

/// A page of the list.
#[derive(Debug, Default)]
pub struct Shown {
    pub entries: Vec<Entry>,
    /// There are more above, and below.
    pub newer: bool,
    pub older: bool,
    /// How many match, at most one more than [`MOST_COUNTED`]. `None`: counting takes too long.
    pub all: Option<i64>,
    /// How many there are in each state, apart from the filter's states. `None`: there are too many to tell quickly.
    pub counts: Option<Vec<Count>>,
}

/// How many match in a state; in a list's page at most one more than [`MOST_COUNTED`].
#[derive(Debug, Clone, Copy)]
pub struct Count {
    pub state: ExportState,
    pub n: i64,
}

/// A page and its counts, of one connection.
pub async fn browse(pool: &PgPool, filter: &Filter, turn: Turn, limit: i64) -> sqlx::Result<Shown> {
    let mut tx = pool.begin_with("BEGIN READ ONLY").await?;
    at_most(&mut tx, LONGEST).await?;
    // One more than shown tells whether there is another page.
    let mut entries: Vec<Entry> = page(filter, turn, limit + 1).build_query_as().fetch_all(&mut *tx).await?;
    let more = i64::try_from(entries.len()).unwrap_or(i64::MAX) > limit;
    if more {
        let extra = if matches!(turn, Turn::Newer(_)) { 0 } else { entries.len() - 1 };
        entries.remove(extra);
    }
    let (newer, older) = match turn {
        Turn::Newest => (false, more),
        Turn::Older(_) => (true, more),
        Turn::Newer(_) => (more, true),
    };
    at_most(&mut tx, LONGEST_COUNT).await?;
    let (all, counts) = match count(&mut tx, filter).await {
        Ok((all, counts)) => (Some(all), counts),
        Err(error) if took_too_long(&error) => (None, None),
        Err(error) => return Err(error),
    };
    tx.rollback().await?;
    Ok(Shown { entries, newer, older, all, counts })
}

fn page(filter: &Filter, turn: Turn, limit: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(
        "WITH page AS MATERIALIZED (
             SELECT e.id, e.source_id, e.level, e.group_id, e.resource_types, e.state, e.failure_reason, e.failure_detail, e.waits_for,
                    e.manifest_complete, e.accepted_at, e.restarts, e.created_at, e.started_at, e.finished_at
               FROM bulkhead.exports e",
    );
    filter.push(&mut query);
    let order = match turn {
        Turn::Newest => "DESC",
        Turn::Older(Place { at, id }) => {
            query.push(" AND (e.created_at, e.id) < (").push_bind(at).push(", ").push_bind(id).push(")");
            "DESC"
        }
        Turn::Newer(Place { at, id }) => {
            query.push(" AND (e.created_at, e.id) > (").push_bind(at).push(", ").push_bind(id).push(")");
            "ASC"
        }
    };
    query.push(format_args!(" ORDER BY e.created_at {order}, e.id {order} LIMIT ")).push_bind(limit);
    query.push(DETAILS);
    query
}

/// Sums are made for the exports of the page only.
const DETAILS: &str = ")
    SELECT page.id, s.base_url, page.level, page.group_id, page.resource_types, page.state, page.failure_reason, page.failure_detail,
           page.waits_for, page.manifest_complete, page.accepted_at, page.restarts, page.created_at, page.started_at, page.finished_at,
           f.files, f.done AS files_done, coalesce(f.bytes, 0) AS bytes, coalesce(f.rows, 0) AS rows,
           g.attempt, g.max_attempts, g.next_at, g.progress, c.until AS cool_down
      FROM page JOIN bulkhead.sources s ON s.id = page.source_id
      LEFT JOIN LATERAL (
          SELECT count(*) AS files, count(*) FILTER (WHERE f.state = 'downloaded' AND coalesce(p.open, 0) = 0) AS done,
                 sum(greatest(f.bytes, p.bytes))::bigint AS bytes, sum(p.rows) FILTER (WHERE f.kind = 'output')::bigint AS rows
            FROM bulkhead.export_files f
            LEFT JOIN (SELECT file_id, count(*) FILTER (WHERE state <> 'loaded') AS open, sum(byte_len)::bigint AS bytes, sum(rows)::bigint AS rows
                         FROM bulkhead.file_parts WHERE export_id = page.id GROUP BY file_id) p ON p.file_id = f.id
           WHERE f.export_id = page.id) f ON true
      LEFT JOIN LATERAL (
          SELECT g.attempt, g.max_attempts, g.progress,
                 CASE WHEN g.state = 'ready' THEN g.next_run_at WHEN g.state = 'running' THEN g.wake_at END AS next_at
            FROM bulkhead.stages g
           WHERE g.export_id = page.id AND g.state IN ('ready', 'running', 'dead') AND g.kind NOT IN ('release', 'clean_up', 'summarise')
           ORDER BY g.attempt DESC, g.rank, g.created_at LIMIT 1) g ON page.state NOT IN ('completed', 'cancelled')
      LEFT JOIN LATERAL (
          SELECT c.until FROM bulkhead.cool_downs c
           WHERE c.source_id = page.source_id AND c.until > clock_timestamp()
             AND md5(c.operation) = md5(CASE page.level WHEN 'group' THEN 'Group/' || page.group_id || '/$export'
                                                        WHEN 'patient' THEN 'Patient/$export' ELSE '$export' END) LIMIT 1) c
        ON page.state IN ('queued', 'authenticating', 'kicking_off') AND page.waits_for IS NULL
     ORDER BY page.created_at DESC, page.id DESC";

/// How many match; and how many in each state, as far as that is cheap.
async fn count(db: &mut PgConnection, filter: &Filter) -> sqlx::Result<(i64, Option<Vec<Count>>)> {
    let counts = if filter.has_others() { in_one_walk(db, filter).await? } else { Some(by_the_index(db).await?) };
    if let Some(counts) = counts {
        let left = filter.states_left();
        let all = counts.iter().filter(|count| left.contains(&count.state)).map(|count| count.n).sum();
        return Ok((all, Some(counts)));
    }
    let mut query = QueryBuilder::new("SELECT count(*) FROM (SELECT FROM bulkhead.exports e");
    filter.push(&mut query);
    query.push(" LIMIT ").push_bind(MOST_COUNTED + 1).push(") few");
    Ok((query.build_query_scalar().fetch_one(db).await?, None))
}

/// Each state is a range of an index, and only its beginning is walked. Asked for in the index's order, or Postgres, which does not know
/// how rare a state is, would read the table once for each.
async fn by_the_index(db: &mut PgConnection) -> sqlx::Result<Vec<Count>> {
    let all: Vec<String> = ExportState::ALL.iter().map(|state| state.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        r#"SELECT s.state AS "state!", c.n AS "n!" FROM unnest($1::text[]) AS s(state)
            CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT FROM bulkhead.exports e
                WHERE e.state = s.state AND e.delete_requested_at IS NULL AND e.purpose = 'export'
                ORDER BY e.created_at DESC, e.id DESC LIMIT $2) few) c"#,
        &all,
        MOST_COUNTED + 1
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok(Count { state: row.state.parse()?, n: row.n })).collect()
}

/// All that match but for their state, unless they are too many.
async fn in_one_walk(db: &mut PgConnection, filter: &Filter) -> sqlx::Result<Option<Vec<Count>>> {
    let mut query = QueryBuilder::new(
        "SELECT few.state, count(*) FROM (SELECT e.state FROM bulkhead.exports e WHERE e.delete_requested_at IS NULL AND e.purpose = 'export'",
    );
    filter.push_others(&mut query);
    query.push(" LIMIT ").push_bind(LONGEST_WALK + 1).push(") few GROUP BY few.state");
    let found: Vec<(String, i64)> = query.build_query_as().fetch_all(db).await?;
    if found.iter().map(|(_, n)| n).sum::<i64>() > LONGEST_WALK {
        return Ok(None);
    }
    Ok(Some(in_order(&found)))
}

/// States that none is in are left out.
fn in_order(found: &[(String, i64)]) -> Vec<Count> {
    let count = |state: ExportState| found.iter().find(|(word, _)| word == state.as_str()).map(|(_, n)| Count { state, n: *n });
    ExportState::ALL.iter().filter_map(|state| count(*state)).collect()
}

/// All that match, to the last one, by their state; states that none is in are left out. `None`: it takes too long.
pub async fn count_exactly(pool: &PgPool, filter: &Filter) -> sqlx::Result<Option<Vec<Count>>> {
    let mut tx = pool.begin_with("BEGIN READ ONLY").await?;
    at_most(&mut tx, LONGEST_EXACT).await?;
    let mut query = QueryBuilder::new("SELECT e.state, count(*) FROM bulkhead.exports e");
    filter.push(&mut query);
    query.push(" GROUP BY e.state");
    let counted: Result<Vec<(String, i64)>, _> = query.build_query_as().fetch_all(&mut *tx).await;
    tx.rollback().await?;
    match counted {
        Ok(rows) => Ok(Some(in_order(&rows))),
        Err(error) if took_too_long(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The database's clock: what is remembered of a moment is compared with its times.
pub async fn moment(pool: &PgPool) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(pool).await
}

/// All exports at a glance; each number but the rates at most one more than [`MOST_COUNTED`] ten times.
#[derive(Debug, Default)]
pub struct Overview {
    /// Begun and not ended.
    pub running: i64,
    pub waiting: i64,
    /// Of the last 24 hours.
    pub failed: i64,
    pub completed: i64,
    /// A second, over the last minute.
    pub rows: f64,
    pub bytes: f64,
    pub workers: i64,
}

/// What the tiles show. Every number is a short range of an index, however many exports there are.
pub async fn overview(pool: &PgPool) -> sqlx::Result<Overview> {
    let row = sqlx::query!(
        r#"SELECT
             (SELECT count(*) FROM (SELECT FROM bulkhead.exports
                WHERE state IN ('authenticating', 'kicking_off', 'in_progress', 'downloading', 'loading')
                  AND delete_requested_at IS NULL AND purpose = 'export' LIMIT $1) few) AS "running!",
             (SELECT count(*) FROM (SELECT FROM bulkhead.exports
                WHERE state = 'queued' AND delete_requested_at IS NULL AND purpose = 'export' LIMIT $1) few) AS "waiting!",
             (SELECT count(*) FROM (SELECT FROM bulkhead.exports
                WHERE state = 'failed' AND finished_at >= statement_timestamp() - interval '24 hours'
                  AND delete_requested_at IS NULL AND purpose = 'export' LIMIT $1) few) AS "failed!",
             (SELECT count(*) FROM (SELECT FROM bulkhead.exports
                WHERE state = 'completed' AND finished_at >= statement_timestamp() - interval '24 hours'
                  AND delete_requested_at IS NULL AND purpose = 'export' LIMIT $1) few) AS "completed!",
             (SELECT count(*) FROM bulkhead.workers WHERE ended_at IS NULL AND lease_until > statement_timestamp()) AS "workers!",
             coalesce(lately.rows, 0)::float8 / 60 AS "rows!", coalesce(lately.bytes, 0)::float8 / 60 AS "bytes!"
           -- A part's stage ends with the transaction that loads it.
           FROM (SELECT sum(p.rows) AS rows, sum(p.byte_len) AS bytes
                   FROM bulkhead.stages s JOIN bulkhead.file_parts p ON p.id = s.part_id
                  WHERE s.state IN ('done', 'cancelled') AND s.finished_at >= statement_timestamp() - interval '60 seconds'
                    AND s.kind = 'load' AND p.state = 'loaded') lately"#,
        MOST_COUNTED * 10 + 1
    )
    .fetch_one(pool)
    .await?;
    Ok(Overview {
        running: row.running,
        waiting: row.waiting,
        failed: row.failed,
        completed: row.completed,
        rows: row.rows,
        bytes: row.bytes,
        workers: row.workers,
    })
}
