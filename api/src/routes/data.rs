//! `GET /api/bulk-data/data`: the numbers behind the data page; `/data/{chart}`: one chart's, as CSV too.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{
    ApiState,
    data::{self, By, Data, Job, Question, Standing, Table, chart},
    openapi::{Always, BadQuery, NotInThisState, OneJob},
    problem::{Kind, Problem},
};

/// Exact numbers of an export, or of several side by side.
///
/// What is picked chooses people: those who have it. Each chart counts what the chosen people have; the chart that something was picked in shows
/// what is beside it too. Of a parameter that is given more than once, one value is enough; of different parameters all must be met. An empty
/// value is "not given". Numbers are counted from all resources, never estimated; a person in two exports is counted in each.
///
/// An export that has ended is summed up once, in the background: until then its `standing` is `pending`, and it is in no chart.
#[utoipa::path(get, path = "/api/bulk-data/data", operation_id = "data", tag = "data",
    params(
        ("etl_job_id" = Option<Vec<uuid::Uuid>>, Query, description = "Of these exports, at most 20; or give `latest`."),
        ("latest" = Option<String>, Query, description = "`groups`: the latest completed export of each Group.", example = "groups"),
        ("gender" = Option<String>, Query, description = "People of this gender.", example = "female"),
        ("age" = Option<String>, Query, description = "People of this age when the data was exported: `30-39`, `90-`.", example = "30-39"),
        ("condition" = Option<String>, Query, description = "People with a Condition of this code.", example = "59621000"),
        ("observation" = Option<String>, Query, description = "People with an Observation of this code.", example = "8302-2"),
        ("medication" = Option<String>, Query, description = "People with a MedicationRequest of this code."),
        ("class" = Option<String>, Query, description = "People with an Encounter of this class.", example = "AMB"),
        ("period" = Option<String>, Query, description = "People with an Encounter (of that class) that began in it: `2019`, `2019-Q1`, `2019-03`."),
        ("resource_type" = Option<String>, Query, description = "People with a resource of this type.", example = "Procedure"),
        ("by" = Option<By>, Query, description = "How time is grouped; `year` if it is not given."),
        ("bands" = Option<String>, Query, description = "Years of an age band: 5, 10 (if it is not given), 20, or `life`: 0-17, 18-39, 40-64, 65 and older."),
        ("top" = Option<String>, Query, description = "Codes in a chart, those that most people have: 1 to 1000, or `all`; 20 if it is not given."),
        ("values_of" = Option<String>, Query, description = "The observation whose values are shown; without it what was picked, else the most frequent one."),
        ("format" = Option<String>, Query, description = "`csv`, of one chart."),
    ),
    responses((status = 200, description = "The numbers.", body = Data), OneJob, BadQuery, Always))]
pub async fn read(State(state): State<Arc<ApiState>>, RawQuery(query): RawQuery) -> Result<Json<Data>, Problem> {
    let question = Question::parse(query.as_deref().unwrap_or_default())?;
    Ok(Json(data::look(&state, &question).await?))
}

/// One chart's numbers, all of them: as JSON, or as CSV with `format=csv` or `Accept: text/csv`.
///
/// The parameters are those of `/api/bulk-data/data`; `top` is `all` if it is not given. In CSV, a text that a spreadsheet would take for a
/// formula has an apostrophe in front. Until all exports are summed up there is no answer (503, `Retry-After`): a table never lacks one silently.
#[utoipa::path(get, path = "/api/bulk-data/data/{chart}", operation_id = "data_chart", tag = "data",
    params(
        ("chart" = String, Path, description = "totals, resources, people, conditions, encounters, observations, medications, histogram or trend."),
        ("etl_job_id" = Option<Vec<uuid::Uuid>>, Query, description = "Of these exports, at most 20; or give `latest`."),
        ("format" = Option<String>, Query, description = "`csv`"),
    ),
    responses(
        (status = 200, description = "The chart's numbers.", content((Table = "application/json"), (String = "text/csv"))),
        OneJob, NotInThisState, BadQuery, Always
    ))]
pub async fn one(
    State(state): State<Arc<ApiState>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    head: HeaderMap,
) -> Result<Response, Problem> {
    let name = chart(&name)?;
    let query = query.unwrap_or_default();
    // The last one counts: what was asked for.
    let question = Question::parse(&format!("top=all&{query}"))?;
    let data = data::look(&state, &question).await?;
    if let Some(job) = data.jobs.iter().find(|job| job.standing != Standing::Ready) {
        return Err(not_there(job));
    }
    let table = data.charts.into_iter().find(|table| table.name == name).ok_or_else(|| Problem::internal("a chart without a table"))?;
    if question.csv || wants_csv(&head) {
        return Ok(csv(&table));
    }
    Ok(Json(table).into_response())
}

/// A table has no place to say that an export is missing in it.
fn not_there(job: &Job) -> Problem {
    let id = job.job_id;
    let unavailable = |why: &str| Problem::new(Kind::Unavailable, format!("The numbers of export {id} are not there yet: {why}"));
    match job.standing {
        Standing::Loading => unavailable("it is under way, and is summed up when it has ended. Ask again then, or leave it out."),
        Standing::Pending | Standing::Ready => unavailable("it is being summed up, which takes seconds. Ask again in a moment."),
        Standing::GivenUp => Problem::new(
            Kind::Conflict,
            format!("Export {id} could not be summed up; its story says why. Try again on the data page, or leave it out."),
        ),
    }
}

fn wants_csv(head: &HeaderMap) -> bool {
    head.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.starts_with("text/csv"))
}

/// A file to keep.
pub fn csv(table: &Table) -> Response {
    let mut response = table.csv().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{}.csv\"", table.name)) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}
