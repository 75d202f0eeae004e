//! `GET /data`: what was loaded, in charts; each with its table and its CSV. Everything that a chart shows stands in the tables, and every
//! filter is a link there: scripts only draw.

mod links;
mod panels;
mod pick;
mod script;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse as _, Redirect},
};

use super::{
    frame::Frame,
    page::{Answer, page},
};
use crate::{
    ApiState,
    data::{self, By, Data, Job, Question, Standing, browse},
    routes::job_id,
};
use links::{Chip, Choice, Links};
use panels::Panel;
use pick::Offered;

/// So many observations are offered by name.
const MEASURED: usize = 40;

#[derive(Template)]
#[template(path = "data.html")]
struct Page {
    frame: Frame,
    offered: Vec<Offered>,
    shown: Option<Shown>,
}

/// How the exports of a page stand, for one that waits for them.
#[derive(Template)]
#[template(path = "data_standings.html")]
struct Standings {
    frame: Frame,
    jobs: Vec<Job>,
}

/// Some exports, and what they hold.
struct Shown {
    jobs: Vec<Job>,
    chips: Vec<Chip>,
    /// Without any filter.
    clear: String,
    periods: Vec<Choice>,
    bands: Vec<Choice>,
    people: i64,
    people_chosen: i64,
    records: i64,
    records_chosen: i64,
    /// Resources that are no fact in their server's own words.
    left_out: i64,
    /// People without a Patient resource.
    only_referred_to: i64,
    groups_left_out: usize,
    /// The observations whose values can be shown.
    measured: Vec<Choice>,
    panels: Vec<Panel>,
    /// What a chart says that has nothing.
    empty: &'static str,
    /// At which day ages are counted.
    ages: Vec<String>,
    /// For the script that draws.
    json: String,
    /// Seconds until it is worth looking again.
    again: Option<u32>,
}

pub async fn read(State(state): State<Arc<ApiState>>, frame: Frame, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let links = Links::of(&query);
    let shown = if links.names_exports() {
        let question = Question::parse(&links.query())?;
        let data = data::look(&state, &question).await?;
        Some(Shown::of(&frame, &links, &data)?)
    } else {
        None
    };
    let offered = pick::offered(&state.pool, &links).await?;
    page(&Page { frame, offered, shown })
}

/// `GET /data/standings`: without counting anything again.
pub async fn standings(State(state): State<Arc<ApiState>>, frame: Frame, RawQuery(query): RawQuery) -> Answer {
    let question = Question::parse(&Links::of(&query.unwrap_or_default()).query())?;
    let jobs = data::standings(&state, &question).await?;
    page(&Standings { frame, jobs })
}

/// `POST /data/{job_id}/sum-up`: an export that could not be summed up is tried again.
pub async fn sum_up(State(state): State<Arc<ApiState>>, Path(id): Path<String>) -> Answer {
    let export = browse::export(&state, job_id(&id)?).await?;
    data::ask_for(&state, &export).await?;
    Ok(Redirect::to(&format!("/data?etl_job_id={}", export.export_id)).into_response())
}

impl Shown {
    fn of(frame: &Frame, links: &Links, data: &Data) -> Result<Self, crate::problem::Problem> {
        let sum = |column: usize| data.sum_of("totals", column);
        let waiting = |standing| data.jobs.iter().any(|job| job.standing == standing);
        let again = if waiting(Standing::Pending) {
            Some(2)
        } else if waiting(Standing::Loading) {
            Some(5)
        } else {
            None
        };
        Ok(Self {
            jobs: data.jobs.clone(),
            chips: links.chips(frame, data),
            clear: links.without_filters(),
            periods: links.choices(
                "by",
                data.by.as_str(),
                By::ALL.map(By::as_str).iter().map(|by| (*by, frame.word("data.by", by).to_owned())),
            ),
            bands: links.choices("bands", data.bands, data::BANDS.iter().map(|bands| (*bands, frame.word("data.bands", bands).to_owned()))),
            people: sum(1),
            people_chosen: sum(2),
            records: sum(3),
            records_chosen: sum(4),
            left_out: sum(5),
            only_referred_to: sum(6),
            groups_left_out: data.groups_left_out,
            measured: measured(frame, links, data),
            panels: panels::panels(frame, links, data),
            empty: frame.t(data.empty()),
            ages: ages(frame, data),
            json: script::json(frame, data)?,
            again,
        })
    }

    /// Whether any export's numbers are there.
    fn any_ready(&self) -> bool {
        self.jobs.iter().any(|job| job.standing == Standing::Ready)
    }
}

/// A sentence, where all exports are of one day; else one for each.
fn ages(frame: &Frame, data: &Data) -> Vec<String> {
    let of_jobs: Vec<_> = data.jobs.iter().filter_map(|job| Some((job, job.as_of?))).collect();
    match of_jobs.as_slice() {
        [(_, day), rest @ ..] if rest.iter().all(|(_, other)| other == day) => vec![frame.with("data.as_of.all", day)],
        several => several.iter().map(|(job, day)| frame.with_two("data.as_of", script::label(frame, job), day)).collect(),
    }
}

/// What has values, and the page that shows them.
fn measured(frame: &Frame, links: &Links, data: &Data) -> Vec<Choice> {
    let offered = data.measured.iter().take(MEASURED).map(|measured| {
        let code = measured.code.clone().unwrap_or_default();
        let label = data.named(frame, "observation", measured.code.as_deref());
        (code, label)
    });
    let offered: Vec<(String, String)> = offered.collect();
    links.choices(
        "values_of",
        data.values_of.as_deref().unwrap_or_default(),
        offered.iter().map(|(code, label)| (code.as_str(), label.clone())),
    )
}

impl Standings {
    fn label(&self, job: &Job) -> String {
        script::label(&self.frame, job)
    }
}

impl Page {
    /// What an export was asked for, where that is not everything; and that it lacks something.
    fn limits(&self, job: &Job) -> Vec<String> {
        let frame = &self.frame;
        let types = (!job.resource_types.is_empty()).then(|| frame.with("data.only_types", job.resource_types.join(", ")));
        let since = job.since.as_ref().map(|since| frame.with("data.only_since", since));
        let filtered = job.filtered.then(|| frame.t("data.filtered").to_owned());
        let accepted = job.accepted.then(|| frame.t("data.accepted").to_owned());
        [types, since, filtered, accepted].into_iter().flatten().collect()
    }

    fn label(&self, job: &Job) -> String {
        script::label(&self.frame, job)
    }

    /// An export in one word: its Group, or what it is of.
    fn name<'a>(&'a self, group: Option<&'a String>, level: &str) -> &'a str {
        group.map_or_else(|| self.frame.word("level", level), |group| group.as_str())
    }
}
