//! What the data page and its endpoints show: exact numbers of one export or of several side by side, counted over their summaries.
//!
//! A filter chooses people: those who have what was picked. A chart counts what these people have; the chart in which something was picked
//! shows what is beside it too. So a number is what plain SQL over the resources gives: `WHERE patient_id IN (the people)`.

mod answer;
pub mod browse;
mod charts;
mod chosen;
mod count;
mod csv;
mod filters;
mod period;
mod question;
mod table;
mod values;

use bulkhead_shared::{
    db::summaries::{self, Summarised},
    domain::{export::ExportState, stage::StageKind, summary::Kind},
    queue::{self, NewStage},
};
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use tokio::sync::Semaphore;

pub use answer::{Data, Job, Standing};
pub use period::By;
#[cfg(test)]
pub use question::PARAMETERS;
pub use question::{Jobs, Question, chart};
pub use table::{Cell, Table};

use crate::{ApiState, problem::Problem};
use charts::Charts;
use chosen::Chosen;

/// The words for how ages are grouped.
pub const BANDS: [&str; 4] = ["5", "10", "20", "life"];

/// Each holds a connection and a core for as long as it counts: the API has other work too.
static COUNTING: Semaphore = Semaphore::const_new(3);

/// Answers a question. What is not summed up yet is asked for, and says so.
pub async fn look(state: &ApiState, question: &Question) -> Result<Data, Problem> {
    let _turn = COUNTING.acquire().await;
    // One moment: a summary that is replaced meanwhile stays readable.
    let mut tx = state.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (exports, groups_left_out) = exports(&mut tx, question).await?;
    let jobs = jobs(&mut tx, &exports).await?;
    let ready: Vec<&Summarised> = exports.iter().filter(|export| export.summary_id.is_some()).collect();
    let charts = count(&mut tx, question, &ready).await?;
    tx.rollback().await?;
    ask_for_pending(state, &exports, &jobs).await?;
    let question = question.clone();
    // Millions of values are sorted.
    let data = tokio::task::spawn_blocking(move || Data::new(jobs, &question, charts, groups_left_out));
    data.await.map_err(Problem::internal)
}

/// How the exports of a question stand, without counting anything.
pub async fn standings(state: &ApiState, question: &Question) -> Result<Vec<Job>, Problem> {
    let mut db = state.pool.acquire().await?;
    let (exports, _) = exports(&mut db, question).await?;
    let jobs = jobs(&mut db, &exports).await?;
    drop(db);
    ask_for_pending(state, &exports, &jobs).await?;
    Ok(jobs)
}

/// The exports, and how many Groups there are beside them.
async fn exports(db: &mut PgConnection, question: &Question) -> Result<(Vec<Summarised>, usize), Problem> {
    let (ids, groups) = match &question.jobs {
        Jobs::Some(ids) => (ids.clone(), 0),
        Jobs::LatestOfGroups => summaries::latest_of_groups(&mut *db, question::MOST_JOBS).await?,
    };
    let groups_left_out = usize::try_from(groups).unwrap_or_default().saturating_sub(ids.len());
    let exports = summaries::of(&mut *db, &ids).await?;
    if let (Jobs::Some(ids), true) = (&question.jobs, exports.len() < ids.len()) {
        let missing = ids.iter().find(|id| exports.iter().all(|export| export.export_id != **id));
        return Err(crate::routes::no_such_job(missing.copied().unwrap_or_default()));
    }
    Ok((exports, groups_left_out))
}

async fn jobs(db: &mut PgConnection, exports: &[Summarised]) -> Result<Vec<Job>, Problem> {
    let mut jobs = Vec::new();
    for export in exports {
        jobs.push(job(db, export).await?);
    }
    Ok(jobs)
}

async fn count(db: &mut PgConnection, question: &Question, ready: &[&Summarised]) -> Result<Charts, Problem> {
    let mut charts = Charts::new(question);
    let mut chosen = Vec::new();
    for export in ready {
        let of_export = Chosen::find(db, &question.filters, export).await?;
        charts.begin(export, &of_export);
        let mut columns = summaries::columns(db, export.summary_id.unwrap_or_default(), Kind::ALL);
        while let Some(columns) = columns.try_next().await? {
            charts.add(&columns, &of_export)?;
        }
        chosen.push(of_export);
    }
    let Some(code) = question.values_of.clone().or_else(|| charts.most_measured()) else { return Ok(charts) };
    for (n, (export, chosen)) in ready.iter().zip(&chosen).enumerate() {
        let mut columns = summaries::values(db, export.summary_id.unwrap_or_default(), code.as_deref());
        while let Some(columns) = columns.try_next().await? {
            charts.add_values(n, &columns, chosen);
        }
    }
    charts.values_of = Some(code);
    Ok(charts)
}

/// An export that has ended and has no summary gets one: the stage is enqueued once, however often somebody looks. Asked when the look has given
/// its connection back: a request that held one and waited for another could wait for others like itself.
async fn ask_for_pending(state: &ApiState, exports: &[Summarised], jobs: &[Job]) -> Result<(), Problem> {
    for (export, job) in exports.iter().zip(jobs) {
        if job.standing == Standing::Pending {
            ask_for(state, export).await?;
        }
    }
    Ok(())
}

/// How an export stands.
async fn job(db: &mut PgConnection, export: &Summarised) -> Result<Job, Problem> {
    let export_state: ExportState = export.state.parse().map_err(sqlx::Error::from)?;
    let standing = if export.summary_id.is_some() {
        Standing::Ready
    } else if !export_state.has_ended() {
        Standing::Loading
    } else if export.given_up {
        Standing::GivenUp
    } else {
        Standing::Pending
    };
    let so_far = if standing == Standing::Ready { Vec::new() } else { summaries::loaded_so_far(db, export.export_id).await? };
    Ok(Job::new(export, export_state, standing, so_far))
}

/// An export is to be summed up, also where that was given up.
pub async fn ask_for(state: &ApiState, export: &Summarised) -> Result<(), Problem> {
    let mut tx = state.pool.begin().await?;
    queue::revive(&mut tx, export.export_id, StageKind::Summarise).await?;
    let stage = [NewStage::new(StageKind::Summarise)];
    queue::enqueue(&mut tx, export.export_id, export.source_id, state.max_attempts, &stage).await?;
    tx.commit().await?;
    Ok(())
}
