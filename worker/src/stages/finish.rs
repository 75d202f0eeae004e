//! finish: everything is settled; is it complete? Decided in the transaction that holds the export's lock, from the rows.

mod searched;

use async_trait::async_trait;
use bulkhead_shared::{
    db::{
        export_events::EventLevel,
        export_files::{self, FileTotals},
        exports,
    },
    domain::{
        export::Ask,
        failure::{Failure, Reason},
        finding::{Finding, FindingKind, Severity},
        scope,
        stage::StageKind,
    },
    queue::{Fenced, NewStage, Outcome, StageError, Tail, Written},
};

use super::Stage;
use crate::work::Work;

pub struct Finish;

#[async_trait]
impl Stage for Finish {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        let accepted = work.export.accept_partial || work.export.accepted_at.is_some();
        let retention = work.blob_settings().retention_seconds();
        Ok(Outcome::Done(Box::new(Verdict { accepted, retention, ask: work.export.ask.clone() })))
    }
}

struct Verdict {
    accepted: bool,
    /// Seconds until the downloaded files go.
    retention: f64,
    ask: Ask,
}

#[async_trait]
impl Tail for Verdict {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        // A retry looks for members again: finish comes again when their searches are settled.
        if exports::get(tx.db(), id).await?.is_none_or(|export| !export.manifest_complete) {
            return Ok(Written::Done);
        }
        let files = export_files::totals(tx.db(), id).await?;
        // A retry made files or loads live again: the same.
        if files.iter().any(|file| file.state == "pending") || exports::has_live_data_stages(tx.db(), id).await? {
            return Ok(Written::Done);
        }
        let mut findings = exports::early_findings(&mut *tx.db(), id).await?;
        findings.extend(files.iter().flat_map(findings_of));
        findings.extend(searched::unconfirmed(&files));
        findings.extend(scope::narrower(exports::granted_scope(tx.db(), id).await?.as_deref(), &self.ask));
        let gaps: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        if !gaps.is_empty() && !self.accepted {
            let more = if gaps.len() > 1 { format!(" ({} more findings)", gaps.len() - 1) } else { String::new() };
            let failure = Failure {
                stage: StageKind::Finish,
                reason: Reason::Incomplete,
                detail: format!("The export is incomplete: {}{more}", gaps[0].message),
                remedy: "Retry it (only what is missing is read again), or accept it as it is.".to_owned(),
            };
            tx.enqueue(&[NewStage::new(StageKind::CleanUp).after(self.retention)]).await?;
            tx.enqueue(&[NewStage::new(StageKind::Summarise)]).await?;
            return Ok(Written::Fail(failure, findings));
        }
        let rows: i64 = files.iter().filter(|file| file.kind == "output").map(|file| file.rows).sum();
        if !exports::complete(tx.db(), id, &findings).await? {
            // Ended already, by an earlier run.
            return Ok(Written::Done);
        }
        tx.tell(EventLevel::Info, &format!("Completed. Resources: {rows}, files: {}.", files.len())).await?;
        tx.enqueue(&[NewStage::new(StageKind::Release)]).await?;
        tx.enqueue(&[NewStage::new(StageKind::CleanUp).after(self.retention)]).await?;
        tx.enqueue(&[NewStage::new(StageKind::Summarise)]).await?;
        Ok(Written::Done)
    }
}

/// Each gap and oddity of a file.
fn findings_of(file: &FileTotals) -> Vec<Finding> {
    let name = file.resource_type.as_deref().unwrap_or("untyped");
    let finding =
        |severity, kind, message| Finding { severity, kind, resource_type: file.resource_type.clone(), file: Some(file.n), message };
    let mut findings = Vec::new();
    if file.state == "failed" {
        let error = file.error.as_deref().unwrap_or("no reason kept");
        findings.push(finding(Severity::Error, FindingKind::FileFailed, format!("{name} file {} could not be had: {error}", file.n)));
    } else if file.loaded_lines != file.lines {
        let message = format!("{name} file {}: {} of its {} lines are loaded.", file.n, file.loaded_lines, file.lines);
        findings.push(finding(Severity::Error, FindingKind::FileFailed, message));
    }
    // A server may or may not count the headers of an organized file.
    let fits = |expected: &i64| *expected == file.lines || *expected == file.lines - file.headers;
    if let Some(expected) = file.expected_count.filter(|expected| !fits(expected) && file.state != "failed") {
        let message = format!("{name} file {} holds {} resources, the server announced {expected}.", file.n, file.lines);
        findings.push(finding(Severity::Error, FindingKind::CountMismatch, message));
    }
    if file.rejects > 0 {
        let message = format!(
            "{name} file {}: lines that could not be loaded: {}; rejected_lines has them with their reasons.",
            file.n, file.rejects
        );
        findings.push(finding(Severity::Error, FindingKind::RejectedLines, message));
    }
    if file.duplicates > 0 {
        let message =
            format!("{name} file {}: resources that were there already: {}; the newer version of each was kept.", file.n, file.duplicates);
        findings.push(finding(Severity::Warning, FindingKind::Duplicates, message));
    }
    if file.left_out > 0 {
        let message = format!(
            "{name} file {}: resources that were not asked for, by a parameter that the server does not support, and were left out: {}.",
            file.n, file.left_out
        );
        findings.push(finding(Severity::Warning, FindingKind::LeftOut, message));
    }
    if file.subsetted > 0 {
        let message = format!("{name} file {}: resources of which the server left parts out (SUBSETTED): {}.", file.n, file.subsetted);
        findings.push(finding(Severity::Warning, FindingKind::Subsetted, message));
    }
    if file.kind == "deleted" && file.lines > 0 {
        let message = format!("The server lists {} deletions; deletions has them, they are not applied.", file.deletions);
        findings.push(finding(Severity::Warning, FindingKind::DeletionsNotApplied, message));
    }
    findings.extend(outcomes_of(file));
    findings.extend(searched::findings_of(file));
    findings
}

/// What the server's own OperationOutcomes say; `error` and `fatal` mean that something is missing.
fn outcomes_of(file: &FileTotals) -> Vec<Finding> {
    let parts = file.outcomes.as_array().into_iter().flatten();
    parts
        .flat_map(|part| part.as_array().into_iter().flatten())
        .map(|outcome| {
            let word = outcome["severity"].as_str().unwrap_or("error");
            let severity = if matches!(word, "warning" | "information") { Severity::Warning } else { Severity::Error };
            Finding {
                severity,
                kind: FindingKind::ServerOutcome,
                resource_type: None,
                file: Some(file.n),
                message: format!(
                    "The server reports {} {word} outcome(s): {}",
                    outcome["count"].as_i64().unwrap_or(1),
                    outcome["text"].as_str().unwrap_or("no text")
                ),
            }
        })
        .collect()
}
