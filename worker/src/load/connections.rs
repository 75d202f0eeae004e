//! Connections for loads: one each, since a COPY fills it. One that has done its work is kept for the next load.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bulkhead_shared::db::{self, DatabaseError};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

/// How long Postgres may take to answer; after that it counts as away.
const PATIENCE: Duration = Duration::from_secs(10);
/// The name of a connection that waits for a load.
const IDLE: &str = "bh:idle";

/// Those of one process.
pub struct Connections {
    options: PgConnectOptions,
    idle: Mutex<Vec<PgConnection>>,
}

impl Connections {
    pub fn to(database_url: &str) -> Result<Self, DatabaseError> {
        Ok(Self { options: db::options(database_url, IDLE)?, idle: Mutex::default() })
    }

    /// A connection with this name, by which the stage's next claim can find and end it.
    pub async fn take(&self, name: &str) -> sqlx::Result<PgConnection> {
        let taken = async {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            // Postgres may have ended it meanwhile.
            if let Some(mut kept) = kept
                && call(&mut kept, name).await.is_ok()
            {
                return Ok(kept);
            }
            self.options.clone().application_name(name).connect().await
        };
        tokio::time::timeout(PATIENCE, taken).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Takes one back whose transaction has ended.
    pub async fn give_back(&self, mut connection: PgConnection) {
        // It would be ended for the stage that it has served.
        if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, call(&mut connection, IDLE)).await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

async fn call(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query("SELECT set_config('application_name', $1, false)").bind(name).execute(connection).await?;
    Ok(())
}
