//! members: who is in the Group, and what of them can be searched; makes a search of each type and some patients, and they are
//! the export's files from then on.

mod plan;
mod walk;

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{
        export_events::EventLevel,
        export_files::searches::{self, NewSearch},
        exports,
    },
    domain::{
        export::Level,
        failure::Reason,
        finding::{Finding, FindingKind},
        search::Search,
    },
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Trouble, Written},
};
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::HeaderMap;
use url::Url;

use self::plan::{Wanted, Whose};
use super::{
    Nothing, Stage,
    download::pace,
    fall_back::{self, TOO_MANY_FILES},
};
use crate::{
    fhir::{
        answer::Refusal,
        auth,
        http::{Ask, MANIFEST_BODY},
        retry_after,
        searchable::Searchable,
    },
    work::Work,
};

pub struct Members;

#[async_trait]
impl Stage for Members {
    /// Of all its questions together: a Group may hold many.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(2 * 3600)
    }

    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        if work.export.manifest_complete {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        let metadata = ask(work, url(work, &["metadata"])?).await?;
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(refusal) => return impossible(work, &format!("its CapabilityStatement cannot be read ({})", refusal.words())).await,
        };
        // The export's moment is before anything is read: what changes meanwhile comes again with the next one.
        let began: DateTime<Utc> = retry_after::server_time(&metadata.headers).into();
        let Some(searchable) = Searchable::read(&metadata.body) else {
            return impossible(work, "its answer for metadata is no CapabilityStatement").await;
        };
        let mut planned = Planned { transaction_time: began.to_rfc3339_opts(SecondsFormat::Secs, true), ..Planned::default() };
        let whose = match (work.export.ask.level, &work.export.ask.group_id) {
            (Level::Group, Some(id)) => {
                let members = walk::walk(work, id).await?;
                planned.findings.extend(members.findings);
                planned.story = members.story;
                Whose::Patients(members.patients)
            }
            _ => Whose::Everybody,
        };
        planned.one_by_one = work.early_findings().await?.iter().any(|finding| finding.kind == FindingKind::ListNotApplied);
        let chunk = if planned.one_by_one { 1 } else { work.search_settings().search_patients.into() };
        // Searches for several patients at once do not count where they were answered for one.
        let is_known = |search: &Search| search.patients.as_ref().is_none_or(|patients| !planned.one_by_one || patients.ids.len() == 1);
        let known: Vec<Search> = work.searches().await?.into_iter().filter(is_known).collect();
        let wanted = Wanted { ask: &work.export.ask, only: work.export.types_left(), known: &known };
        let plan = plan::plan(&wanted, &work.source.base_url, &searchable, whose, chunk);
        if plan.searches.is_empty() && !plan.nobody && known.is_empty() {
            return impossible(work, "it says of no type asked for that it can be searched").await;
        }
        planned.searches = plan.searches;
        planned.findings.extend(plan.findings);
        Ok(Outcome::Done(Box::new(planned)))
    }
}

/// A URL below the base URL.
pub fn url(work: &Work, path: &[&str]) -> Result<Url, StageError> {
    let mut url = Url::parse(&work.source.base_url).ok().filter(|url| !url.cannot_be_a_base()).ok_or_else(|| {
        StageError::Fail(Trouble::new(Reason::Refused, "fhir_server_url is not a URL.", "submit the export again with the right URL"))
    })?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    Ok(url)
}

/// An answer that was read whole.
pub struct Read {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Reads a resource. A refusal that may pass is an error, any other is the caller's matter.
pub async fn ask(work: &Work, url: Url) -> Result<Result<Read, Refusal>, StageError> {
    send(work, Ask::get(url), None).await
}

/// The same for any question; a refusal is without the patients of this search.
pub async fn send(work: &Work, ask: Ask, search: Option<&Search>) -> Result<Result<Read, Refusal>, StageError> {
    let mut ask = ask.accept("application/fhir+json");
    ask.same_origin_only = true;
    let answer = auth::send(work.http(), &work.tokens(), ask).await?;
    if answer.status().as_u16() == 200 {
        let headers = answer.headers().clone();
        let body = work.http().body(answer, MANIFEST_BODY).await?;
        return Ok(Ok(Read { headers, body }));
    }
    let refusal = Refusal::read(work.http(), answer).await?;
    let refusal = match search {
        Some(search) => refusal.without(search),
        None => refusal,
    };
    match refusal.status {
        401 => Err(refusal.credentials().unwrap_or(StageError::Lost)),
        429 => Err(StageError::Again(pace::SLOW_DOWN.to_owned(), refusal.retry_after.unwrap_or(pace::PAUSE))),
        501 => Ok(Err(refusal)),
        408 | 425 | 500.. => Err(refusal.again("The server could not be read")),
        _ => Ok(Err(refusal)),
    }
}

/// Neither a bulk export nor a search.
async fn impossible<T>(work: &Work, but: &str) -> Result<T, StageError> {
    let why = fall_back::why(work).await?;
    let (reason, remedy) = if why.contains(TOO_MANY_FILES) {
        (Reason::TooManyFiles, "ask for fewer resource types, or use since to limit the range of data, and submit again")
    } else {
        let remedy = "check fhir_server_url and the Group's id; ask the server's operator for Bulk Data export, or for the right to search";
        (Reason::NotFound, remedy)
    };
    Err(StageError::Fail(Trouble::new(reason, format!("{why} FHIR search cannot take its place: {but}."), remedy)))
}

#[derive(Default)]
struct Planned {
    searches: Vec<NewSearch>,
    findings: Vec<Finding>,
    transaction_time: String,
    /// Who was found.
    story: String,
    /// Each patient is searched for alone: the server does not look at a list.
    one_by_one: bool,
}

#[async_trait]
impl Tail for Planned {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        if !exports::step_to_searches(tx.db(), id, &self.transaction_time).await? {
            return Ok(Written::Done);
        }
        if self.one_by_one {
            exports::forget_lists(tx.db(), id).await?;
        }
        for finding in &self.findings {
            exports::add_finding(tx.db(), id, finding).await?;
        }
        let files = searches::add(tx.db(), id, &self.searches).await?;
        let stages: Vec<NewStage> = files.iter().map(|(file, n)| NewStage::search(*file, *n)).collect();
        tx.enqueue(&stages).await?;
        tx.tell(EventLevel::Info, format!("{} Searches to make: {}.", self.story, files.len()).trim_start()).await?;
        Ok(Written::Done)
    }
}
