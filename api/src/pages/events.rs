//! `GET /events` and `/events/{job_id}`: server-sent events that say *that* something changed, never what. Whoever hears it asks for its
//! page again, with its own door and its own words.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::{Sse, sse::Event},
};
use futures::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, sleep_until};

use crate::{
    ApiState,
    access::{Caller, still_valid},
    changes::Watch,
    problem::Problem,
    routes::job_id,
};

/// At most one change is told in this time.
const APART: Duration = Duration::from_secs(1);
/// Without a change, a sign of life.
const BEAT: Duration = Duration::from_secs(5);
/// Notifications can be lost, and rates and times go on without any: then a page is asked for again all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

type Events = Result<Sse<futures::stream::BoxStream<'static, Result<Event, Infallible>>>, Problem>;

/// Of all exports.
pub async fn any(State(state): State<Arc<ApiState>>, caller: Caller) -> Events {
    let watch = state.changes.watch_any();
    Ok(Sse::new(told(state, caller, watch).boxed()))
}

/// Of one.
pub async fn one(State(state): State<Arc<ApiState>>, caller: Caller, Path(id): Path<String>) -> Events {
    let watch = state.changes.watch(job_id(&id)?);
    Ok(Sse::new(told(state, caller, watch).boxed()))
}

/// Who has just connected may have missed something: the first event is a change.
fn told(state: Arc<ApiState>, caller: Caller, watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> {
    let stopping = state.stopping.clone().cancelled_owned();
    let follower = Follower { state, caller, watch, told: None };
    stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })
    .take_until(stopping)
}

/// One open page.
struct Follower {
    state: Arc<ApiState>,
    caller: Caller,
    watch: Watch,
    /// When the last change was told.
    told: Option<Instant>,
}

impl Follower {
    /// Nothing more once the caller may not see it any longer.
    async fn next(&mut self) -> Option<Event> {
        let changed = match self.told {
            None => true,
            Some(told) => {
                sleep_until(told + APART).await;
                self.watch.changed(Instant::now() + BEAT).await || told.elapsed() >= LOOK_AGAIN
            }
        };
        // Asked of the database at each event: a few seconds after a session is revoked its pages hear no more.
        if !matches!(still_valid(&self.state, &self.caller).await, Ok(true)) {
            return None;
        }
        if changed {
            self.watch.look();
            self.told = Some(Instant::now());
        }
        // Browsers drop an event without data, and axum writes no empty one.
        Some(Event::default().event(if changed { "changed" } else { "beat" }).data("-"))
    }
}
