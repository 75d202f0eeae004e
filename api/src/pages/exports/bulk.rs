//! `/exports/act`: the same done to the selected exports, or to all that match. `GET` says what would happen to how many; `POST` does it and
//! tells what became of each.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{RawQuery, Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use bulkhead_shared::{
    db::exports::{self, Acted, Count, Filter, Listed, Operation, Place, Refusal},
    domain::export::ExportState,
};
use chrono::{DateTime, Utc};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    query::{Asked, Field},
    view::said,
};
use crate::{
    ApiState,
    access::Caller,
    acts::{self, Chosen, Matching},
    pages::{
        form,
        format::{self, host},
        frame::Frame,
        notice::Notice,
        page::{Answer, page},
    },
    problem::Problem,
    routes::jobs::{cursor, read_cursor},
};

/// More than these are not deleted by a slip: their number is typed.
const SLIP: i64 = 20;
/// Exports that are named before, and after.
const NAMED_BEFORE: i64 = 8;
const NAMED_AFTER: usize = 100;
/// That can be selected by hand.
const MOST_CHOSEN: usize = 1000;

/// What is to be done to whom.
#[derive(Debug, Clone)]
struct Order {
    operation: Operation,
    /// All that match; else the chosen ones.
    all: bool,
    chosen: Vec<Uuid>,
    asked: Asked,
    /// When it was counted: what came to the list later is left alone.
    moment: Option<DateTime<Utc>>,
    /// As many were confirmed.
    count: i64,
    /// So many of them were worked on by earlier requests, down to this place.
    before: i64,
    after: Option<Place>,
    typed: String,
}

impl Order {
    /// Of the fields of a form; without an operation, or anything to do it to, nothing but the list that they came from.
    fn read(pairs: impl Iterator<Item = (String, String)>) -> Result<Result<Self, Asked>, Problem> {
        let mut operation = None;
        let mut rest = Vec::new();
        let mut order = Self {
            operation: Operation::Retry,
            all: false,
            chosen: Vec::new(),
            asked: Asked::default(),
            moment: None,
            count: 0,
            before: 0,
            after: None,
            typed: String::new(),
        };
        let wrong = || Problem::invalid("The form is not as it was made. Go back to the list and choose again.");
        for (name, value) in pairs {
            match name.as_str() {
                "act" => operation = Some(value.parse().map_err(|_| wrong())?),
                "all" => order.all = true,
                "export" => order.chosen.push(value.parse().map_err(|_| wrong())?),
                "moment" => order.moment = Some(value.parse().ok().and_then(DateTime::from_timestamp_micros).ok_or_else(wrong)?),
                "count" => order.count = value.parse().map_err(|_| wrong())?,
                "done_before" => order.before = value.parse().map_err(|_| wrong())?,
                "below" => order.after = Some(read_cursor(&value)?),
                "typed" => order.typed = value,
                "csrf" => {}
                _ => rest.push((name, value)),
            }
        }
        order.asked = Asked::of(rest.into_iter())?;
        let mut seen = std::collections::HashSet::new();
        order.chosen.retain(|id| seen.insert(*id));
        if order.chosen.len() > MOST_CHOSEN {
            return Err(wrong());
        }
        let Some(operation) = operation.filter(|_| order.all || !order.chosen.is_empty()) else { return Ok(Err(order.asked)) };
        order.operation = operation;
        Ok(Ok(order))
    }

    /// Those that are meant, and were there at that moment.
    async fn filter(&self, state: &ApiState, moment: DateTime<Utc>) -> sqlx::Result<Filter> {
        if !self.all {
            return Ok(Filter { among: Some(self.chosen.clone()), ..Filter::default() });
        }
        Ok(Filter { standing_at: Some(moment), ..self.asked.filter(&state.pool, moment).await? })
    }

    /// The list that they were chosen from.
    fn list(&self) -> String {
        self.asked.url()
    }

    fn must_type(&self) -> bool {
        self.operation == Operation::Delete && self.all && self.count > SLIP
    }

    fn was_typed(&self) -> bool {
        let digits: String = self.typed.chars().filter(|c| !matches!(c, ',' | ' ' | '\u{a0}' | '.')).collect();
        !self.must_type() || digits == self.count.to_string()
    }
}

#[derive(Template)]
#[template(path = "exports_confirm.html")]
struct Confirm {
    frame: Frame,
    order: Order,
    moment: DateTime<Utc>,
    /// To which it will be done, by their state, and the first of them.
    will: Vec<Count>,
    first: Vec<Listed>,
    /// Which stay as they are, by their state.
    will_not: Vec<Count>,
    /// Another number was typed.
    wrong: bool,
}

/// `GET`: what will happen.
pub async fn confirm(State(state): State<Arc<ApiState>>, frame: Frame, RawQuery(query): RawQuery) -> Answer {
    let query = query.unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned()));
    match Order::read(pairs)? {
        Ok(order) => ask(&state, frame, order).await,
        Err(list) => Ok(nothing_chosen(&list)),
    }
}

fn nothing_chosen(list: &Asked) -> Response {
    Notice::bad("nothing_selected").to(&list.url())
}

async fn ask(state: &ApiState, frame: Frame, mut order: Order) -> Answer {
    let wrong = !order.typed.is_empty();
    let moment = match order.moment {
        Some(moment) => moment,
        None => exports::moment(&state.pool).await?,
    };
    let filter = order.filter(state, moment).await?;
    let all = exports::count_exactly(&state.pool, &filter).await?;
    let filter = Filter { open_to: Some(order.operation), ..filter };
    let (Some(all), Some(will)) = (all, exports::count_exactly(&state.pool, &filter).await?) else {
        return Ok(Notice::bad("too_many_to_count").to(&order.list()));
    };
    let will_not = all.into_iter().map(|count| Count { n: count.n - number_in(&will, count.state), ..count }).filter(|count| count.n > 0);
    let will_not = will_not.collect();
    let first = exports::page(&state.pool, &filter, None, NAMED_BEFORE).await?;
    order.count = will.iter().map(|count| count.n).sum();
    page(&Confirm { frame, order, moment, will, first, will_not, wrong })
}

fn number_in(counts: &[Count], state: ExportState) -> i64 {
    counts.iter().filter(|count| count.state == state).map(|count| count.n).sum()
}

impl Confirm {
    /// A text of this operation.
    fn say(&self, key: &str) -> &'static str {
        say(&self.frame, key, self.order.operation)
    }

    fn say_count(&self, key: &str) -> String {
        self.frame.count(&format!("{key}.{}", self.order.operation), self.order.count)
    }

    fn left(&self) -> i64 {
        self.will_not.iter().map(|count| count.n).sum()
    }

    fn not_named(&self) -> i64 {
        self.order.count - i64::try_from(self.first.len()).unwrap_or(0)
    }

    fn name<'a>(&'a self, listed: &'a Listed) -> &'a str {
        listed.group_id.as_deref().unwrap_or_else(|| self.frame.word("level", &listed.level))
    }

    fn host(listed: &Listed) -> String {
        host(&listed.base_url)
    }

    /// The filters, for people.
    fn filters(&self) -> Vec<(Field, bool, String)> {
        let asked = &self.order.asked;
        asked.fields().map(|field| (field, asked.negates(field), said(&self.frame, asked, field))).collect()
    }
}

fn say(frame: &Frame, key: &str, operation: Operation) -> &'static str {
    frame.t(&format!("{key}.{operation}"))
}

#[derive(Template)]
#[template(path = "exports_done.html")]
struct Outcome {
    frame: Frame,
    order: Order,
    done: Vec<Acted>,
    refused: Vec<Acted>,
    /// There was not time for all of them: the form goes on.
    more: bool,
}

/// `POST`: does it.
pub async fn act(State(state): State<Arc<ApiState>>, caller: Caller, frame: Frame, request: Request) -> Answer {
    let fields: Vec<(String, String)> = form(request).await?;
    let order = match Order::read(fields.into_iter())? {
        Ok(order) => order,
        Err(list) => return Ok(nothing_chosen(&list)),
    };
    if !order.was_typed() {
        let typed = if order.typed.is_empty() { "-".to_owned() } else { order.typed.clone() };
        let again = ask(&state, frame, Order { typed, ..order }).await?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, again).into_response());
    }
    let (acted, more, order) = if order.all { all(&state, &caller, order).await? } else { chosen(&state, &caller, order).await? };
    let (done, refused) = acted.into_iter().partition(|one| one.refusal.is_none());
    page(&Outcome { frame, order, done, refused, more })
}

async fn chosen(state: &ApiState, caller: &Caller, order: Order) -> Result<(Vec<Acted>, bool, Order), Problem> {
    let many = Chosen { operation: order.operation, ids: &order.chosen };
    let (acted, more) = acts::run(state, caller, &many, order.chosen.len()).await?;
    let rest = order.chosen[acted.len()..].to_vec();
    let more = more && !rest.is_empty();
    Ok((acted, more, Order { chosen: rest, ..order }))
}

/// Not more than were confirmed.
async fn all(state: &ApiState, caller: &Caller, order: Order) -> Result<(Vec<Acted>, bool, Order), Problem> {
    let moment =
        order.moment.ok_or_else(|| Problem::invalid("The form does not say when it was made. Go back to the list and choose again."))?;
    let filter = Filter { open_to: Some(order.operation), ..order.filter(state, moment).await? };
    let many = Matching { operation: order.operation, filter, after: order.after };
    let most = usize::try_from(order.count - order.before).unwrap_or(0);
    let (acted, more) = acts::run(state, caller, &many, most).await?;
    let more = more && acted.len() < most;
    let before = order.before + i64::try_from(acted.len()).unwrap_or(i64::MAX);
    let after = acted.last().map(|(place, _)| *place).or(order.after);
    Ok((acted.into_iter().map(|(_, one)| one).collect(), more, Order { before, after, ..order }))
}

impl Outcome {
    fn say_count(&self, key: &str, n: usize) -> String {
        self.frame.count(&format!("{key}.{}", self.order.operation), n)
    }

    fn say(&self, key: &str) -> &'static str {
        say(&self.frame, key, self.order.operation)
    }

    /// Those that are named.
    fn first(acted: &[Acted]) -> &[Acted] {
        &acted[..acted.len().min(NAMED_AFTER)]
    }

    fn not_named(acted: &[Acted]) -> usize {
        acted.len().saturating_sub(NAMED_AFTER)
    }

    /// What the export is called; its id, if it is gone.
    fn name(&self, one: &Acted) -> String {
        match (&one.group_id, one.level) {
            (Some(group), _) => group.clone(),
            (None, Some(level)) => self.frame.word("level", level).to_owned(),
            (None, None) => one.id.to_string(),
        }
    }

    fn host(one: &Acted) -> String {
        one.base_url.as_deref().map(host).unwrap_or_default()
    }

    /// Why it was left as it was.
    fn why(&self, one: &Acted) -> String {
        let state = one.state.map(|state| self.frame.word("state", state)).unwrap_or_default();
        match one.refusal {
            Some(Refusal::State) => crate::pages::texts::fill(self.say("refused.state"), &[state]),
            Some(refusal) => self.frame.word("refused", refusal).to_owned(),
            None => String::new(),
        }
    }

    /// Still to be done.
    fn rest(&self) -> String {
        let rest = if self.order.all { self.order.count - self.order.before } else { i64::try_from(self.order.chosen.len()).unwrap_or(0) };
        format::number(rest)
    }

    /// Where the next request goes on.
    fn below(&self) -> String {
        self.order.after.map(cursor).unwrap_or_default()
    }
}
