//! summarise: what the data page shows of an export that has ended, made of its rows in one transaction. One that was retried, accepted or
//! deleted meanwhile keeps nothing of it, and is summed up after its next end.

use async_trait::async_trait;
use bulkhead_shared::{
    db::summaries::{self, NewSummary},
    domain::stage::StageKind,
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Written},
};
use uuid::Uuid;

use super::{Nothing, Stage};
use crate::{summary::sum_up, work::Work};

/// While rows are read nothing is said on the connection that writes. It holds no lock that anybody waits for until its end.
const MAY_BE_SILENT: &str = "SET LOCAL idle_in_transaction_session_timeout = '15min'";
const NO_LONGER: &str = "SET LOCAL idle_in_transaction_session_timeout TO DEFAULT";

pub struct Summarise;

#[async_trait]
impl Stage for Summarise {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        let Some(of_end) = work.export.finished_at.filter(|_| work.export.delete_requested_at.is_none()) else {
            return Ok(Outcome::Done(Box::new(Nothing)));
        };
        if work.is_summarised().await? {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        let (mut from, mut to) = (work.load_connection().await?, work.load_connection().await?);
        sqlx::query("BEGIN").execute(&mut to).await?;
        sqlx::query(MAY_BE_SILENT).execute(&mut to).await?;
        let id = Uuid::now_v7();
        let summed = sum_up(&mut from, &mut to, work.export.id, id).await?;
        work.give_back(from).await;
        sqlx::query(NO_LONGER).execute(&mut to).await?;
        let summary = NewSummary { id, export_id: work.export.id, of_end, people: summed.people, records: summed.records };
        Ok(Outcome::DoneIn(Box::new(to), Box::new(Kept(summary))))
    }
}

struct Kept(NewSummary);

#[async_trait]
impl Tail for Kept {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        if !summaries::keep(tx.db(), &self.0).await? && tx.state.has_ended() {
            // It has ended again meanwhile, and found this stage running: once more.
            tx.enqueue(&[NewStage::new(StageKind::Summarise)]).await?;
        }
        Ok(Written::Done)
    }
}
