//! `deploy/OPERATIONS.md` is true: every setting, every reason, every finding and every problem is in it.

use std::{fs, path::Path};

use bulkhead_api::ProblemKind;
use bulkhead_shared::domain::{failure::Reason, finding::FindingKind};
use bulkhead_tests::settings_table::settings_table;

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/OPERATIONS.md");
    fs::read_to_string(path).expect("deploy/OPERATIONS.md")
}

#[test]
fn its_table_of_settings_is_the_programs_own() {
    let guide = guide();
    let table = guide.split("<!-- settings -->\n").nth(1).expect("the table's mark");
    let hint = "put the output of `cargo run -p bulkhead-tests --bin settings` between the marks in deploy/OPERATIONS.md";
    assert_eq!(table, settings_table(), "{hint}");
}

#[test]
fn every_error_has_its_remedy_there() {
    let guide = guide();
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    let findings = FindingKind::ALL.iter().map(|kind| kind.as_str());
    let problems = ProblemKind::ALL.iter().map(|kind| kind.word());
    for word in reasons.chain(findings).chain(problems) {
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{word}` |")));
        let remedy = row.and_then(|row| row.trim_end_matches(" |").rsplit(" | ").next()).unwrap_or_default();
        assert!(remedy.len() > 10, "{word} has no row with a remedy in deploy/OPERATIONS.md");
    }
}
