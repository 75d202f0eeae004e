//! The stages: one file each. A stage does one thing to the world, then describes one change of the database.

mod auth;
mod check;
mod clean_up;
mod download;
mod fall_back;
mod finish;
mod kick_off;
mod load;
mod members;
mod poll;
mod release;
mod search;
mod summarise;

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_shared::{
    domain::stage::StageKind,
    queue::{Fenced, Outcome, StageError, Tail, Written},
};

use crate::work::Work;

/// One stage. `work` may take an hour and holds no transaction; what it returns is written by the runner, behind the fence.
/// Running it twice, or killing it between work and finish, comes to the same result.
#[async_trait]
pub trait Stage: Sync {
    /// How long one attempt may take.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(30 * 60)
    }

    async fn work(&self, work: &Work) -> Result<Outcome, StageError>;
}

/// The stage of a kind. A new kind does not compile until it is here.
pub fn stage(kind: StageKind) -> &'static dyn Stage {
    match kind {
        StageKind::Auth => &auth::Auth,
        StageKind::KickOff => &kick_off::KickOff,
        StageKind::Poll => &poll::Poll,
        StageKind::Members => &members::Members,
        StageKind::Download => &download::Download,
        StageKind::Search => &search::Search,
        StageKind::Load => &load::Load,
        StageKind::Finish => &finish::Finish,
        StageKind::Release => &release::Release,
        StageKind::CleanUp => &clean_up::CleanUp,
        StageKind::Check => &check::Check,
        StageKind::Summarise => &summarise::Summarise,
    }
}

/// Nothing to write.
pub struct Nothing;

#[async_trait]
impl Tail for Nothing {
    async fn write(&self, _tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        Ok(Written::Done)
    }
}
