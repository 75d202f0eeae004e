//! Logs: to standard error, plain or one JSON object a line.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::LogSettings;

/// Libraries that log each statement or request on `info`, or could log a URL with its query.
const QUIET: &str = "sqlx=warn,hyper=warn,hyper_util=warn,reqwest=warn,h2=warn,rustls=warn,apalis=warn,apalis_core=warn,apalis_postgres=warn,object_store=warn";

/// Starts logging; called once by each binary.
pub fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let directives = format!("{},{QUIET}", settings.log_level);
    let filter = EnvFilter::try_new(&directives).map_err(|e| {
        anyhow::anyhow!("LOG_LEVEL {:?} is not understood ({e}); use error, warn, info, debug or trace", settings.log_level)
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    if settings.log_json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()?;
    } else {
        registry.with(fmt::layer().with_target(false).with_ansi(false).with_writer(std::io::stderr)).try_init()?;
    }
    Ok(())
}
