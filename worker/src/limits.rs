//! What a server may make of us at most. Whoever meets a limit learns its name.

use bulkhead_shared::{
    clock,
    config::LimitSettings,
    domain::{export::Export, failure::Reason, manifest::Manifest},
    queue::{StageError, Trouble},
};

use crate::work::Work;

/// A limit was met. `setting` is its name in the environment.
pub fn met(what: String, setting: &str) -> StageError {
    StageError::Fail(Trouble::new(
        Reason::Limit,
        format!("{what} (limit {setting})."),
        format!("if the server is right, raise {setting} for the workers and retry the export; else ask the server's operator"),
    ))
}

/// Entries and pages of a manifest.
pub fn manifest(work: &Work, manifest: &Manifest) -> Result<(), StageError> {
    let limits = work.limits();
    if manifest.files.len() > limits.limit_manifest_entries {
        return Err(met(format!("The manifest lists {} files on a page", manifest.files.len()), "LIMIT_MANIFEST_ENTRIES"));
    }
    if work.export.manifest_pages >= limits.limit_manifest_pages {
        return Err(met(format!("The manifest's pages do not end (page {})", work.export.manifest_pages + 1), "LIMIT_MANIFEST_PAGES"));
    }
    Ok(())
}

/// How long a server may say "later".
pub fn export_time(export: &Export, limits: &LimitSettings) -> Result<(), StageError> {
    let began = export.kick_off_intent_at.or(export.started_at).unwrap_or(export.created_at);
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let days = (clock::now() - began).num_seconds() as f64 / 86_400.0;
    if days > limits.limit_export_days {
        return Err(met(format!("The server has not ended the export for {days:.1} days"), "LIMIT_EXPORT_DAYS"));
    }
    Ok(())
}
