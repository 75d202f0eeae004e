//! The first step: the server, and who asks it.

use std::sync::Arc;

use askama::{Template, filters::Safe};
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect},
};
use bulkhead_shared::{
    db::{exports, signing_keys, sources},
    domain::export::{Ask, Export, Level},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::kept::Secrets;
use crate::{
    ApiState,
    access::Caller,
    canonical,
    pages::{
        fields::Fields,
        frame::Frame,
        page::{Answer, page},
    },
    problem::{Kind, Problem},
    request::{self, Credentials, Submission},
    submit,
};

/// The fields that are plain text; each is a field of a kick-off too.
const TEXTS: [&str; 7] = ["fhir_server_url", "token_url", "client_id", "algorithm", "kid", "jwks_url", "scope"];

#[derive(Template)]
#[template(path = "new.html")]
struct New {
    frame: Frame,
    typed: Map<String, Value>,
    /// The secret that came with the last try, sealed.
    kept: String,
    wrong: Option<Wrong>,
    sources: Vec<sources::Overview>,
    keys: Vec<String>,
    /// Exported again: its source, and what of it.
    again: Option<Again>,
}

struct Again {
    id: Uuid,
    title: String,
    base_url: String,
    since: Option<String>,
}

/// What cannot be used, and where it stands.
struct Wrong {
    field: &'static str,
    detail: String,
}

impl New {
    fn typed(&self, name: &str) -> &str {
        self.typed.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn wrong_at(&self, field: &str) -> Option<&Wrong> {
        self.wrong.as_ref().filter(|wrong| wrong.field == field)
    }

    /// Of a field that is wrong, for those who do not see its colour.
    fn marks(&self, field: &str) -> Safe<String> {
        Safe(self.wrong_at(field).map_or_else(String::new, |_| format!(" aria-invalid=\"true\" aria-describedby=\"{field}-wrong\"")))
    }

    /// Whether the fields below the file are of interest.
    fn opens_fields(&self) -> bool {
        self.typed.keys().any(|name| name != "fhir_server_url")
            || !self.kept.is_empty()
            || self.wrong.as_ref().is_some_and(|wrong| wrong.field != "config" && wrong.field != "fhir_server_url")
    }
}

impl Wrong {
    /// At the field that the sentence names first.
    fn of(problem: &Problem) -> Self {
        const FIELDS: [&str; 10] =
            ["fhir_server_url", "token_url", "jwks_url", "bearer_token", "client_id", "private_key", "algorithm", "kid", "scope", "config"];
        let at = |field: &&&str| problem.detail.find(**field).unwrap_or(usize::MAX);
        let field = FIELDS.iter().filter(|field| problem.detail.contains(**field)).min_by_key(at);
        let pasted = matches!(problem.kind, Kind::InvalidJson | Kind::UnescapedKey);
        let field = if pasted { "config" } else { field.unwrap_or(&"config") };
        Self { field, detail: problem.detail.clone() }
    }
}

#[derive(Default, Deserialize)]
pub struct Asked {
    again: Option<Uuid>,
}

/// The form; with `?again=` that of an export that is made once more.
pub async fn form(State(state): State<Arc<ApiState>>, frame: Frame, Query(asked): Query<Asked>) -> Answer {
    let again = match asked.again {
        Some(id) => Some(again(&state, id).await?),
        None => None,
    };
    show(&state, frame, Map::new(), String::new(), None, again).await
}

/// Checks what was given, keeps it, and sends a worker to look.
pub async fn start(State(state): State<Arc<ApiState>>, caller: Caller, frame: Frame, fields: Fields) -> Answer {
    if let Ok(id) = fields.text("again").parse() {
        let export = export(&state, id).await?;
        let ask = Ask { since: export.transaction_time.or(export.ask.since), ..export.ask };
        return look(&state, &caller, kept_source(&state, export.source_id, ask).await?).await;
    }
    if let Ok(id) = fields.text("source").parse() {
        return look(&state, &caller, kept_source(&state, id, nothing_yet()).await?).await;
    }
    let mut typed: Map<String, Value> =
        TEXTS.iter().filter(|name| fields.has(name)).map(|name| ((*name).to_owned(), fields.text(name).into())).collect();
    let mut secrets = Secrets::open(fields.text("kept"), &state.cipher, &caller);
    if fields.has("bearer_token") {
        secrets.bearer_token = Some(fields.text("bearer_token").to_owned());
    }
    let wrong = match read(&fields, &mut typed, &mut secrets, &state) {
        Ok(submission) => match look(&state, &caller, submission).await {
            Err(problem) if problem.kind == Kind::InvalidRequest => Wrong::of(&problem),
            looked => return looked,
        },
        Err(problem) => Wrong::of(&problem),
    };
    let kept = secrets.seal(&state.cipher, &caller);
    let shown = show(&state, frame, typed, kept, Some(wrong), None).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, shown).into_response())
}

/// What the form says, as the API reads a kick-off. What the file holds fills the fields that were left empty.
fn read(fields: &Fields, typed: &mut Map<String, Value>, secrets: &mut Secrets, state: &ApiState) -> Result<Submission, Problem> {
    if fields.has("private_key") {
        secrets.private_key = Some(key(fields.text("private_key")));
    }
    if let Some((config, key)) = pasted(fields.text("config"))? {
        if secrets.private_key.is_none() || key.is_some() {
            secrets.private_key = key.or_else(|| secrets.private_key.take());
        }
        for (name, value) in config {
            typed.entry(name).or_insert(value);
        }
    }
    let mut body = typed.clone();
    // A key that the form named beside a file wins over the file's.
    if let Some(key) = secrets.private_key.clone().filter(|_| !typed.contains_key("kid")) {
        body.insert("private_key".to_owned(), key);
    }
    if let Some(token) = &secrets.bearer_token {
        body.insert("bearer_token".to_owned(), token.clone().into());
    }
    let mut submission = request::kick_off(&Value::Object(body), &state.rules)?;
    // Nobody has said yet that it shall be the whole system.
    if submission.ask.level == Level::System {
        submission.ask.level = Level::Unknown;
    }
    Ok(submission)
}

/// A file's members, and its key.
type Pasted = (Map<String, Value>, Option<Value>);

/// A key alone is taken as one.
fn pasted(text: &str) -> Result<Option<Pasted>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with("-----BEGIN") {
        return Ok(Some((Map::new(), Some(text.into()))));
    }
    let value = request::read_json(text.as_bytes())?;
    if value.get("kty").is_some() || value.get("keys").is_some() {
        return Ok(Some((Map::new(), Some(value))));
    }
    let mut members = request::unpack(value)?;
    let key = members.remove("private_key");
    Ok(Some((members, key)))
}

/// A JWK as JSON, or a PEM as text.
fn key(text: &str) -> Value {
    text.into()
}

async fn look(state: &ApiState, caller: &Caller, submission: Submission) -> Answer {
    let id = submit::check(state, &caller.actor, &submission).await?;
    Ok(Redirect::to(&format!("/new/{id}")).into_response())
}

fn nothing_yet() -> Ask {
    Ask { level: Level::Unknown, group_id: None, resource_types: Vec::new(), since: None, parameters: Map::new(), lenient: false }
}

/// With the credentials that are kept of a source.
pub async fn kept_source(state: &ApiState, id: Uuid, ask: Ask) -> Result<Submission, Problem> {
    let source = sources::get_many(&state.pool, &[id]).await?.pop();
    let source = source.ok_or_else(|| Problem::new(Kind::NotFound, "There is no such source; the page Sources lists those there are."))?;
    let request_hash = canonical::hash(&json!(["page", id, ask]));
    Ok(Submission {
        base_url: source.base_url,
        ask,
        credentials: Credentials::Kept(id),
        accept_partial: false,
        dialect: None,
        status_url: None,
        request_hash,
    })
}

async fn export(state: &ApiState, id: Uuid) -> Result<Export, Problem> {
    exports::get(&state.pool, id)
        .await?
        .filter(|export| export.delete_requested_at.is_none())
        .ok_or_else(|| Problem::new(Kind::NotFound, "There is no such export; it may have been deleted."))
}

async fn again(state: &ApiState, id: Uuid) -> Result<Again, Problem> {
    let export = export(state, id).await?;
    let base_url = sources::get(&state.pool, export.source_id).await?.base_url;
    Ok(Again { id, title: export.ask.title(), base_url, since: export.transaction_time })
}

async fn show(
    state: &ApiState,
    frame: Frame,
    typed: Map<String, Value>,
    kept: String,
    wrong: Option<Wrong>,
    again: Option<Again>,
) -> Answer {
    let sources = sources::overview(&state.pool, None, 100).await?.into_iter().filter(|source| source.exports > 0).collect();
    let keys = signing_keys::list(&state.pool).await?;
    let keys = keys.into_iter().filter(|key| key.retired_at.is_none()).map(|key| key.kid).collect();
    page(&New { frame, typed, kept, wrong, sources, keys, again })
}
