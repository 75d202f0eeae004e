//! `GET /data`: what was loaded, in charts; each with its table and its CSV. Everything that a chart shows stands in the tables, and every
//! filter is a link there: scripts only draw.

mod links;
mod panels;
mod pick;
mod script;

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};

use super::{
    frame::Frame,
    page::{Answer, page},
};
use crate::{
    ApiState,
    data::{self, By, Data, Job, Question, Standing},
};
use links::{Chip, Choice, Links};
use panels::Panel;
use pick::Offered;

#[derive(Template)]
#[template(path = "data.html")]
struct Page {
    frame: Frame,
    offered: Vec<Offered>,
    shown: Option<Shown>,
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
    panels: Vec<Panel>,
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
            periods: links.choices("by", data.by.as_str(), By::ALL.map(By::as_str).iter().map(|by| (*by, frame.word("data.by", by)))),
            bands: links.choices("bands", data.bands, data::BANDS.iter().map(|bands| (*bands, frame.word("data.bands", bands)))),
            people: sum(1),
            people_chosen: sum(2),
            records: sum(3),
            records_chosen: sum(4),
            panels: panels::panels(frame, links, data),
            json: script::json(frame, data)?,
            again,
        })
    }

    /// Whether any export's numbers are there.
    fn any_ready(&self) -> bool {
        self.jobs.iter().any(|job| job.standing == Standing::Ready)
    }
}

impl Page {
    /// An export in one word: its Group, or what it is of.
    fn name<'a>(&'a self, group: Option<&'a String>) -> &'a str {
        group.map_or_else(|| self.frame.t("data.no_group"), |group| group.as_str())
    }
}
