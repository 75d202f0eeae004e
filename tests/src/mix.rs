//! Exports in every state at once: what pages are looked at with.

use serde_json::json;
use uuid::Uuid;

use crate::{App, SandboxConfig};

/// One or more of each.
#[derive(Debug)]
pub struct Mix {
    pub completed: Vec<Uuid>,
    /// Not all lines could be loaded.
    pub incomplete: Uuid,
    /// The client is not the server's.
    pub refused: Uuid,
    /// There is no such Group.
    pub nowhere: Uuid,
    pub cancelled: Uuid,
    /// Half of a file is there; the server holds the rest.
    pub running: Uuid,
    /// The same as `running`: it waits for it.
    pub waiting: Uuid,
}

const COMPLETED: [&str; 4] = ["BlueCrossBlueShield", "HarvardPilgrimHealthCare", "TuftsHealthPlan", "HealthNewEngland"];
const RUNNING: &str = "BMCHealthNet";
const CANCELLED: &str = "FallonHealth";
const INCOMPLETE: &str = "MinutemanHealth";

impl Mix {
    /// A server that wants a login, and serves little.
    pub fn sandbox(scale: f64) -> SandboxConfig {
        SandboxConfig { scale, auth: true, export_time: std::time::Duration::ZERO, ..SandboxConfig::default() }
    }

    /// Makes them: `completed` of the first kind.
    ///
    /// # Panics
    /// If one does not become what it should.
    pub async fn make(app: &App, completed: usize) -> Self {
        let completed = &COMPLETED[..completed];
        let mut ended = Vec::new();
        for group in completed {
            ended.push(app.export(group).await);
        }
        let nowhere = app.export("ClosedHealth").await;
        let mut wrong = app.body_of("BlueCrossBlueShield", &["Patient"]);
        wrong["client_id"] = json!("a-client-of-nobody");
        let refused = app.submit(&wrong).await;
        for job in &ended {
            app.until(*job, "completed").await;
        }
        for job in [nowhere, refused] {
            app.until(job, "failed").await;
        }

        app.sandbox.fault("file:malformed-line*always@Condition");
        let incomplete = app.export(INCOMPLETE).await;
        app.until(incomplete, "failed").await;
        app.sandbox.clear_faults();

        let cancelled = Self::held(app, CANCELLED).await;
        let (code, answer) = app.operate(cancelled, "cancel").await;
        assert_eq!(code, 200, "{answer:#}");
        app.sandbox.release();
        app.sandbox.wait_until(|stats| stats.held == 0).await;
        let running = Self::held(app, RUNNING).await;
        let waiting = app.export(RUNNING).await;
        for job in &ended {
            app.until_sql("SELECT EXISTS (SELECT FROM bulkhead.summaries WHERE export_id = $1)", *job).await;
        }
        Self { completed: ended, incomplete, refused, nowhere, cancelled, running, waiting }
    }

    /// An export of which the server holds back half a file.
    async fn held(app: &App, group: &str) -> Uuid {
        app.sandbox.fault("file:hold=half@Observation");
        let job = app.export(group).await;
        app.sandbox.wait_until(|stats| stats.held == 1).await;
        app.until_sql("SELECT bool_or(state = 'loaded') FROM bulkhead.file_parts WHERE export_id = $1", job).await;
        job
    }
}
