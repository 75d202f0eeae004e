//! An export is taken in: its source, its row, its first stage and the first sentence of its story, in one transaction.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_shared::{
    db::{
        audit_log,
        export_events::{self, EventLevel, Teller},
        exports::{self, NewExport},
        signing_keys,
        sources::{self, NewSource},
    },
    domain::{
        audit::{Act, Actor},
        export::{Ask, Export, ExportState, Level},
        failure::Reason,
        private_key::PrivateKey,
        source::Auth,
        stage::StageKind,
    },
    queue::{self, NewStage},
};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    ApiState, canonical,
    problem::{Kind, Problem},
    request::{Credentials, Key, Smart, Submission},
};

/// Deadlocks and lost races end a transaction that succeeds when it is run again.
const TRIES: u32 = 4;

/// What came of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    In(Uuid),
    /// This export asks the same, and has not ended.
    Running(Uuid),
}

impl Taken {
    const fn id(self) -> Uuid {
        match self {
            Self::In(id) | Self::Running(id) => id,
        }
    }
}

/// Whether one that asks the same as a running one is wanted, or the running one is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    Waits,
    IsEnough,
}

/// Takes it in; or finds the export that this request, or this status URL, has made before.
pub async fn submit(state: &ApiState, actor: &Actor, submission: &Submission, idempotency_key: Option<&str>) -> Result<Uuid, Problem> {
    let wish = Wish::Export { key: idempotency_key, same: Same::Waits };
    repeat(state, actor, submission, wish).await.map(Taken::id)
}

/// Takes it in, unless an export of the same is running.
pub async fn submit_unless_running(state: &ApiState, actor: &Actor, submission: &Submission, key: &str) -> Result<Taken, Problem> {
    repeat(state, actor, submission, Wish::Export { key: Some(key), same: Same::IsEnough }).await
}

/// Takes a check in: the same source, its row, its one stage.
pub async fn check(state: &ApiState, actor: &Actor, submission: &Submission) -> Result<Uuid, Problem> {
    repeat(state, actor, submission, Wish::Check).await.map(Taken::id)
}

/// What is wanted of a submission.
#[derive(Clone, Copy)]
enum Wish<'a> {
    Export { key: Option<&'a str>, same: Same },
    Check,
}

async fn repeat(state: &ApiState, actor: &Actor, submission: &Submission, wish: Wish<'_>) -> Result<Taken, Problem> {
    let mut tries = 0;
    loop {
        tries += 1;
        let attempted = match wish {
            Wish::Export { key, same } => attempt(state, actor, submission, key, same).await,
            Wish::Check => attempt_check(state, actor, submission).await.map(Taken::In),
        };
        match attempted {
            Ok(taken) => return Ok(taken),
            Err(Stop::Problem(problem)) => return Err(problem),
            Err(Stop::Race(error)) if tries == TRIES => return Err(Problem::internal(error)),
            Err(Stop::Race(_)) => {}
        }
    }
}

/// Why a transaction came to nothing.
enum Stop {
    /// Somebody else was faster: look again.
    Race(sqlx::Error),
    Problem(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // Unique violation (an Idempotency-Key or a status URL used twice at once), serialization failure, deadlock.
        let race = matches!(code.as_deref(), Some("23505" | "40001" | "40P01"));
        if race { Self::Race(error) } else { Self::Problem(error.into()) }
    }
}

async fn attempt(
    state: &ApiState,
    actor: &Actor,
    submission: &Submission,
    idempotency_key: Option<&str>,
    same: Same,
) -> Result<Taken, Stop> {
    let mut tx = state.pool.begin().await?;
    if let Some(key) = idempotency_key
        && let Some((id, request_hash)) = exports::by_idempotency_key(&mut *tx, key).await?
    {
        return repeated(id, &request_hash, submission).map(Taken::In).map_err(Stop::from);
    }
    let source_id = find_source(&mut tx, state, submission).await?;
    if let Some(known) = known_status_url(&mut tx, submission, source_id).await? {
        return Ok(Taken::In(known));
    }
    if let Some(dialect) = submission.dialect {
        sources::set_dialect(&mut *tx, source_id, dialect).await?;
    }
    let id = match insert(&mut tx, submission, source_id, idempotency_key, same).await? {
        Inserted::New(id) => id,
        Inserted::Known(taken) => return Ok(taken),
    };
    let due = queue::insert(&mut tx, id, source_id, state.max_attempts, &[NewStage::new(StageKind::Auth)]).await?;
    audit_log::insert_exports(&mut *tx, actor, Act::ExportSubmitted, &[id]).await?;
    tx.commit().await?;
    state.announcer.announce(due);
    Ok(Taken::In(id))
}

async fn attempt_check(state: &ApiState, actor: &Actor, submission: &Submission) -> Result<Uuid, Stop> {
    let mut tx = state.pool.begin().await?;
    let source_id = find_source(&mut tx, state, submission).await?;
    let id = Uuid::now_v7();
    exports::insert_check(&mut tx, id, source_id, &submission.ask).await?;
    let due = queue::insert(&mut tx, id, source_id, state.max_attempts, &[NewStage::new(StageKind::Check)]).await?;
    audit_log::insert_exports(&mut *tx, actor, Act::ExportChecked, &[id]).await?;
    tx.commit().await?;
    state.announcer.announce(due);
    Ok(id)
}

fn repeated(id: Uuid, request_hash: &[u8], submission: &Submission) -> Result<Uuid, Problem> {
    if request_hash == submission.request_hash {
        return Ok(id);
    }
    Err(Problem::new(
        Kind::IdempotencyKeyReused,
        format!(
            "This Idempotency-Key came with another body before (job {id}). Use a new key for a new request, or send the same body again."
        ),
    ))
}

async fn find_source(db: &mut PgConnection, state: &ApiState, submission: &Submission) -> Result<Uuid, Stop> {
    let open = NewSource {
        base_url: &submission.base_url,
        auth: Auth::Open,
        client_id: "",
        thumbprint: "",
        token_url: None,
        algorithm: None,
        jwks_url: None,
        scope: None,
        secret: None,
    };
    match &submission.credentials {
        Credentials::Kept(id) => Ok(*id),
        Credentials::Open => Ok(sources::find_or_create(db, &state.cipher, &open).await?),
        Credentials::Bearer(token) => {
            let secret = token.expose_secret().as_bytes();
            let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(secret));
            let new = NewSource { auth: Auth::Bearer, thumbprint: &thumbprint, secret: Some(secret), ..open };
            Ok(sources::find_or_create(db, &state.cipher, &new).await?)
        }
        Credentials::Smart(smart) => {
            let key = key_of(db, state, smart).await?;
            let secret = serde_json::to_vec(&key).map_err(|e| sqlx::Error::Encode(e.into()))?;
            let new = NewSource {
                auth: Auth::Smart,
                client_id: &smart.client_id,
                thumbprint: &key.thumbprint,
                token_url: smart.token_url.as_deref(),
                algorithm: Some(key.algorithm.as_str()),
                jwks_url: smart.jwks_url.as_deref(),
                scope: smart.scope.as_deref(),
                secret: Some(&secret),
                ..open
            };
            Ok(sources::find_or_create(db, &state.cipher, &new).await?)
        }
    }
}

/// The key that was given, or ours that was named.
async fn key_of(db: &mut PgConnection, state: &ApiState, smart: &Smart) -> Result<PrivateKey, Stop> {
    let (kid, algorithm) = match &smart.key {
        Key::Given(key) => return Ok(key.clone()),
        Key::Own { kid, algorithm } => (kid, algorithm),
    };
    let key = signing_keys::get(db, &state.cipher, kid).await?.map_err(|why| Problem::invalid(format!("kid: {why}.")))?;
    match algorithm {
        Some(algorithm) if *algorithm != key.algorithm => Err(Problem::invalid(format!(
            "algorithm {algorithm} does not fit the key with that kid, which signs with {}; leave it out.",
            key.algorithm
        ))
        .into()),
        _ => Ok(key),
    }
}

/// The export that has this status URL already; unless it failed for want of credentials and this request brings others.
async fn known_status_url(db: &mut PgConnection, submission: &Submission, source_id: Uuid) -> Result<Option<Uuid>, Problem> {
    let Some(status_url) = &submission.status_url else { return Ok(None) };
    let Some(id) = exports::by_status_url(&mut *db, status_url).await? else { return Ok(None) };
    let Some(known) = exports::get(&mut *db, id).await? else { return Ok(None) };
    if known.delete_requested_at.is_some() {
        return Err(Problem::new(
            Kind::Conflict,
            format!("The export of this status URL (job {id}) is being deleted; submit a new export."),
        ));
    }
    Ok((known.source_id == source_id || !wants_credentials(&known)).then_some(id))
}

fn wants_credentials(export: &Export) -> bool {
    export.state == ExportState::Failed
        && export.failure.as_ref().is_some_and(|failure| matches!(failure.reason, Reason::Credentials | Reason::Forbidden))
}

/// A row of our own, or one that is there.
enum Inserted {
    New(Uuid),
    Known(Taken),
}

async fn insert(
    db: &mut PgConnection,
    submission: &Submission,
    source_id: Uuid,
    idempotency_key: Option<&str>,
    same: Same,
) -> sqlx::Result<Inserted> {
    let id = Uuid::now_v7();
    let same_as = same_as(source_id, submission);
    let waits_for = exports::live_same(&mut *db, &same_as).await?;
    if let Some(running) = waits_for.filter(|_| same == Same::IsEnough) {
        // A form that was sent twice at once: the one that was quicker made it.
        let own = match idempotency_key {
            Some(key) => exports::by_idempotency_key(&mut *db, key).await?,
            None => None,
        };
        return Ok(Inserted::Known(own.map_or(Taken::Running(running), |(id, _)| Taken::In(id))));
    }
    let new = NewExport {
        id,
        source_id,
        ask: &submission.ask,
        accept_partial: submission.accept_partial,
        same_as: &same_as,
        waits_for,
        status_url: submission.status_url.as_deref(),
        idempotency_key,
        request_hash: &submission.request_hash,
    };
    exports::insert(&mut *db, &new).await?;
    let message = first_sentence(&submission.ask, waits_for);
    export_events::tell(db, id, &Teller::default(), EventLevel::Info, &message).await?;
    Ok(Inserted::New(id))
}

/// What must not run twice at once.
fn same_as(source_id: Uuid, submission: &Submission) -> Vec<u8> {
    let ask = &submission.ask;
    let mut types = ask.resource_types.clone();
    types.sort_unstable();
    canonical::hash(&json!([source_id, ask.level, ask.group_id, types, ask.since, ask.parameters, submission.status_url]))
}

fn first_sentence(ask: &Ask, waits_for: Option<Uuid>) -> String {
    let types = match ask.resource_types.len() {
        // Nobody told us what was asked for.
        _ if ask.level == Level::Unknown => String::new(),
        0 => ", all resource types".to_owned(),
        1 => ", 1 resource type".to_owned(),
        n => format!(", {n} resource types"),
    };
    let waits = waits_for.map(|id| format!(" It waits for {id}, which asks the same.")).unwrap_or_default();
    format!("Submitted: {}{types}.{waits}", ask.title())
}
