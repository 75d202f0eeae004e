//! What was chosen of a server: whom, which types, since when. It walks through the forms as fields.

use bulkhead_shared::{
    db::exports::{self, Check, LastSuccess},
    domain::export::Level,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    ApiState,
    pages::fields::Fields,
    problem::Problem,
    request::{self, Credentials, Submission, group_segment},
};

/// More at once are not taken.
pub const MOST: usize = 500;

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Since {
    #[default]
    Always,
    Moment,
    /// The last complete export of each.
    LastSuccess,
}

impl Since {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Moment => "moment",
            Self::LastSuccess => "last",
        }
    }
}

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    pub level: Level,
    /// As the server names them.
    pub groups: Vec<String>,
    /// Empty: all.
    pub types: Vec<String>,
    pub since: Since,
    pub moment: String,
    /// `_typeFilter`, one a line.
    pub filters: String,
    pub accept_partial: bool,
}

/// One export to be.
pub struct Planned {
    pub submission: Submission,
    /// The last complete one is asked for, and there is none.
    pub is_first: bool,
}

impl Choice {
    /// What the address or the export before asked for.
    pub fn before(check: &Check) -> Self {
        let ask = &check.ask;
        let filters = match ask.parameters.get("_typeFilter") {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
            Some(Value::String(one)) => one.clone(),
            _ => String::new(),
        };
        Self {
            level: if ask.level == Level::Unknown { Level::Group } else { ask.level },
            groups: ask.group_id.iter().cloned().collect(),
            types: ask.resource_types.clone(),
            since: if ask.since.is_some() { Since::Moment } else { Since::Always },
            moment: ask.since.clone().unwrap_or_default(),
            filters,
            accept_partial: false,
        }
    }

    pub fn read(fields: &Fields) -> Self {
        let level = fields.text("level").parse().unwrap_or(Level::Group);
        let lines = fields.text("more_groups").lines().map(str::trim).filter(|line| !line.is_empty());
        let words = fields.text("more_types").split([',', ' ', '\n']).map(str::trim).filter(|word| !word.is_empty());
        Self {
            level,
            groups: once(fields.all("group").chain(lines)),
            types: once(fields.all("type").chain(words)),
            since: match fields.text("since") {
                "moment" => Since::Moment,
                "last" => Since::LastSuccess,
                _ => Since::Always,
            },
            moment: fields.text("moment").to_owned(),
            filters: fields.text("filters").to_owned(),
            accept_partial: fields.has("accept_partial"),
        }
    }

    /// Each of them as a submission, as the API would read it.
    pub async fn plan(&self, state: &ApiState, check: &Check) -> Result<Vec<Planned>, Problem> {
        let targets: Vec<Option<String>> = match self.level {
            Level::Group => self.groups.iter().map(|id| Some(group_segment(id))).collect(),
            _ => vec![None],
        };
        if targets.is_empty() {
            return Err(Problem::invalid("group: choose at least one Group, or all patients."));
        }
        if targets.len() > MOST {
            return Err(Problem::invalid(format!("group: more than {MOST} Groups at once; submit them in portions.")));
        }
        let parameters = self.parameters(check);
        let last = if self.since == Since::LastSuccess { self.last(state, check, &targets, &parameters).await? } else { Vec::new() };
        targets
            .into_iter()
            .map(|group| {
                let known = last.iter().find(|one| one.group_id == group).map(|one| one.transaction_time.as_str());
                let since = match self.since {
                    Since::Always => None,
                    Since::Moment => Some(self.moment.as_str()),
                    Since::LastSuccess => known,
                };
                let submission = self.submission(state, check, group.as_deref(), since, &parameters)?;
                Ok(Planned { submission, is_first: self.since == Since::LastSuccess && known.is_none() })
            })
            .collect()
    }

    /// The filters, and what the export before had that this form does not ask for.
    fn parameters(&self, check: &Check) -> Map<String, Value> {
        let mut parameters = check.ask.parameters.clone();
        parameters.remove("_typeFilter");
        let filters: Vec<&str> = self.filters.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !filters.is_empty() {
            parameters.insert("_typeFilter".to_owned(), json!(filters));
        }
        parameters
    }

    async fn last(
        &self,
        state: &ApiState,
        check: &Check,
        targets: &[Option<String>],
        parameters: &Map<String, Value>,
    ) -> Result<Vec<LastSuccess>, Problem> {
        let groups: Vec<String> = targets.iter().flatten().cloned().collect();
        Ok(exports::last_success(&state.pool, check.source_id, self.level, &groups, &self.types, parameters).await?)
    }

    fn submission(
        &self,
        state: &ApiState,
        check: &Check,
        group: Option<&str>,
        since: Option<&str>,
        parameters: &Map<String, Value>,
    ) -> Result<Submission, Problem> {
        let base = &check.fhir_server_url;
        let url = match (self.level, group) {
            (Level::Group, Some("")) => return Err(Problem::invalid("group: an id is empty or cannot stand in an address.")),
            (Level::Group, Some(group)) => format!("{base}/Group/{group}"),
            (Level::Patient, _) => format!("{base}/Patient"),
            _ => base.clone(),
        };
        let mut body = json!({ "fhir_server_url": url, "resource_types": self.types, "accept_partial": self.accept_partial });
        if let Some(since) = since {
            body["since"] = json!(since);
        }
        if let Some(filters) = parameters.get("_typeFilter") {
            body["_typeFilter"] = filters.clone();
        }
        if check.ask.lenient {
            body["lenient"] = json!(true);
        }
        let mut submission = request::kick_off(&body, &state.rules)?;
        submission.ask.parameters.extend(parameters.clone());
        submission.credentials = Credentials::Kept(check.source_id);
        Ok(submission)
    }
}

/// Each once, in order, none empty.
fn once<'a>(given: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for one in given.filter(|one| !one.is_empty()) {
        if !all.iter().any(|known| known == one) {
            all.push(one.to_owned());
        }
    }
    all
}

/// The Idempotency-Key of the n-th export of a form.
pub fn key(form: Uuid, n: usize) -> String {
    format!("page:{form}:{n}")
}
