//! What the pages of a search said beside their resources, and what they leave in doubt.

use bulkhead_shared::{
    db::export_files::FileTotals,
    domain::{
        finding::{Finding, FindingKind, Severity},
        search::{Cursor, Manner, Search},
    },
};

/// The file's search and where it stands; `None` for a file of a manifest.
fn of(file: &FileTotals) -> Option<(Search, Cursor)> {
    let search = serde_json::from_value(file.search.clone()?).ok()?;
    let cursor = file.cursor.clone().and_then(|cursor| serde_json::from_value(cursor).ok());
    Some((search, cursor.unwrap_or_default()))
}

pub fn findings_of(file: &FileTotals) -> Vec<Finding> {
    let Some((search, Cursor { seen, manner, .. })) = of(file) else { return Vec::new() };
    let (kind, n) = (&search.resource_type, file.n);
    let mut findings = Vec::new();
    let mut find = |severity, what, message| {
        findings.push(Finding { severity, kind: what, resource_type: Some(kind.clone()), file: Some(n), message });
    };
    for said in &seen.outcomes {
        let word = said.severity.as_str();
        let severity = if matches!(word, "warning" | "information") { Severity::Warning } else { Severity::Error };
        let message = format!("The server reports {} {word} outcome(s) among what it found of {kind}: {}", said.count, said.text);
        find(severity, FindingKind::ServerOutcome, message);
    }
    for (entries, severity) in [(seen.empty_matches, Severity::Error), (seen.empty, Severity::Warning)] {
        if entries > 0 {
            find(severity, FindingKind::EmptyEntries, format!("{kind} search {n}: entries without a resource: {entries}."));
        }
    }
    if seen.strangers > 0 {
        let message = format!("{kind} search {n}: resources of patients who were not asked for: {}.", seen.strangers);
        find(Severity::Error, FindingKind::FilterNotApplied, message);
    }
    if seen.repeated > 0 && seen.announced().is_none() {
        let message = format!("{kind} search {n}: resources that came on two pages: {}; others may have been passed over.", seen.repeated);
        find(Severity::Error, FindingKind::CountMismatch, message);
    }
    if seen.out_of_time > 0 {
        let message = format!("{kind} search {n}: resources that _lastUpdated should have left out: {}.", seen.out_of_time);
        find(Severity::Warning, FindingKind::FilterNotApplied, message);
    }
    if !seen.not_applied.is_empty() {
        let message = format!("{kind} search {n}: the server does not say that it applied {}.", seen.not_applied.join(", "));
        find(Severity::Warning, FindingKind::FilterNotApplied, message);
    }
    if manner == Manner::Lenient {
        let message = format!("{kind} search {n}: the server answers only if it may leave out parameters that it does not know.");
        find(Severity::Warning, FindingKind::FilterNotApplied, message);
    }
    let missing = search.asked_by_id().unwrap_or(0) - seen.matches;
    if missing > 0 && file.state == "downloaded" {
        let message = format!("{kind} search {n}: members of the Group that the server did not give: {missing}.");
        find(Severity::Warning, FindingKind::MembersLeftOut, message);
    }
    findings
}

/// Searches of which only the links of their pages say that they are whole.
pub fn unconfirmed(files: &[FileTotals]) -> Option<Finding> {
    let searches = files.iter().filter(|file| file.state == "downloaded").filter_map(of);
    let unconfirmed = searches
        .filter(|(search, Cursor { seen, .. })| seen.announced().is_none() && search.asked_by_id().is_none_or(|asked| asked > seen.matches))
        .count();
    (unconfirmed > 0).then(|| Finding {
        severity: Severity::Warning,
        kind: FindingKind::Unconfirmed,
        resource_type: None,
        file: None,
        message: format!(
            "Searches of which the server did not say how much they find: {unconfirmed}. That they are whole is said only by the links of their pages."
        ),
    })
}
