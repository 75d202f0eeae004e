//! Error files hold OperationOutcomes: read, counted by severity and text, reported in the export's findings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{fhir::outcome::OperationOutcome, load::cutter::resources};

/// Different texts kept; the rest is counted under its severity.
const TEXTS: usize = 20;

/// The word, if it is one that FHIR knows; else the worst.
fn severity(word: &str) -> &'static str {
    ["information", "warning", "error", "fatal"].into_iter().find(|known| *known == word).unwrap_or("error")
}

/// `[{severity, text, count}]` of a part.
pub fn summary(part: &[u8]) -> Value {
    let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (_, _, line) in resources(part) {
        let Some(outcome) = OperationOutcome::read(line) else {
            *counts.entry(("error".to_owned(), "a line of the error file is no OperationOutcome".to_owned())).or_default() += 1;
            continue;
        };
        for issue in outcome.issue {
            let severity = severity(&issue.severity).to_owned();
            let mut key = (severity.clone(), issue.text());
            if counts.len() >= TEXTS && !counts.contains_key(&key) {
                key = (severity, "other outcomes".to_owned());
            }
            *counts.entry(key).or_default() += 1;
        }
    }
    counts.into_iter().map(|((severity, text), count)| json!({"severity": severity, "text": text, "count": count})).collect()
}
