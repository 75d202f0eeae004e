//! Error files hold OperationOutcomes: read, counted by severity and text, reported in the export's findings.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use serde_json::{Value, json};

use super::lines::Lines;
use crate::fhir::outcome::OperationOutcome;

/// Different texts kept; the rest is counted under its severity.
const TEXTS: usize = 20;

/// The word, if it is one that FHIR knows; else the worst.
fn severity(word: &str) -> &'static str {
    ["information", "warning", "error", "fatal"].into_iter().find(|known| *known == word).unwrap_or("error")
}

/// `[{severity, text, count}]` of a part, and its SHA-256.
pub fn summary(part: impl Read) -> io::Result<(Value, Vec<u8>)> {
    let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut lines = Lines::of(part);
    while let Some(line) = lines.next_line()? {
        let Some(outcome) = OperationOutcome::read(line.text) else {
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
    let summary = counts.into_iter().map(|((severity, text), count)| json!({"severity": severity, "text": text, "count": count})).collect();
    Ok((summary, lines.sha256()))
}
