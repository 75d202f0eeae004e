//! summarise: what the data page shows of an export that has ended, made of its rows in one transaction. One that was retried, accepted or
//! deleted meanwhile keeps nothing of it, and is summed up after its next end.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::summaries::{self, NewSummary},
    domain::stage::StageKind,
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Written},
};
use chrono::{Datelike as _, NaiveDate};
use uuid::Uuid;

use super::{Nothing, Stage};
use crate::{load::parse_instant, summary::sum_up, work::Work};

/// While rows are read nothing is said on the connection that writes. It holds no lock that anybody waits for until its end.
const MAY_BE_SILENT: &str = "SET LOCAL idle_in_transaction_session_timeout = '15min'";
const NO_LONGER: &str = "SET LOCAL idle_in_transaction_session_timeout TO DEFAULT";

const AGAIN: Duration = Duration::from_secs(2);

pub struct Summarise;

/// Some servers say a day that no data is of, as the first of the year 1.
fn is_possible(day: NaiveDate) -> bool {
    (1990..2100).contains(&day.year())
}

#[async_trait]
impl Stage for Summarise {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        let Some(of_end) = work.export.finished_at.filter(|_| work.export.delete_requested_at.is_none()) else {
            return Ok(Outcome::Done(Box::new(Nothing)));
        };
        if work.is_summarised().await? {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        // What they commit while rows are read would be missed. After its end an export gets no new ones, or has another end.
        if work.has_running_loads().await? {
            return Err(StageError::Again("a part of the export is still being loaded".to_owned(), AGAIN));
        }
        let (mut from, mut to) = (work.load_connection().await?, work.load_connection().await?);
        sqlx::query("BEGIN").execute(&mut to).await?;
        sqlx::query(MAY_BE_SILENT).execute(&mut to).await?;
        let id = Uuid::now_v7();
        let summed = sum_up(&mut from, &mut to, work.export.id, id).await?;
        work.give_back(from).await;
        sqlx::query(NO_LONGER).execute(&mut to).await?;
        let as_of = work.export.transaction_time.as_deref().and_then(parse_instant).map(|at| at.date_naive());
        let summary = NewSummary {
            id,
            export_id: work.export.id,
            of_end,
            as_of: as_of.filter(|day| is_possible(*day)),
            people: summed.people,
            records: summed.records,
        };
        Ok(Outcome::DoneIn(Box::new(to), Box::new(Kept(summary))))
    }
}

struct Kept(NewSummary);

#[async_trait]
impl Tail for Kept {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        if !summaries::keep(tx.db(), &self.0).await? && tx.state.has_ended() {
            // It has ended again meanwhile, and found this stage running; or a load that had begun before the end still runs: once more.
            tx.enqueue(&[NewStage::new(StageKind::Summarise).after(AGAIN.as_secs_f64())]).await?;
        }
        Ok(Written::Done)
    }
}
