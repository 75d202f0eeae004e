//! The table of duties in `tests/README.md` names tests, and they exist.

use std::{collections::BTreeSet, fs, path::Path};

/// Every `file::test` in backticks of a text.
fn named(text: &str) -> BTreeSet<(String, String)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|name| name.split_once("::")).map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

#[test]
fn every_duty_has_a_test_that_exists_or_is_planned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(folder.join("README.md")).expect("tests/README.md");
    for (file, test) in named(&readme) {
        let source = fs::read_to_string(folder.join(format!("it/{file}.rs"))).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("#[tokio::test(flavor = \"multi_thread\")]\nasync fn {test}()")), "{file} has no test {test}");
    }
    for duty in 1..=26 {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {duty} |"))).unwrap_or_else(|| panic!("duty {duty} has no row"));
        let planned = row.ends_with("| planned |");
        assert!(planned == matches!(duty, 18 | 21), "duty {duty}: {row}");
        assert!(planned || !named(row).is_empty(), "duty {duty} has no test");
    }
}
