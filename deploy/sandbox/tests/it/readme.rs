//! The tables of the README name only what there is.

use bulkhead_sandbox::{Fault, Preset, Sandbox, SandboxConfig};

const README: &str = include_str!("../../README.md");

/// The rows of the tables under a heading, each as its cells.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = README.split(heading).nth(1).expect("the heading").split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_switch_preset_and_fault_it_lists_can_be_read() {
    let switches: Vec<_> = rows("\n## Behaviour\n").into_iter().flat_map(|row| words(row[0])).collect();
    assert!(switches.len() > 35, "{switches:?}");
    for word in switches {
        Sandbox::start(SandboxConfig { switches: word.to_owned(), ..SandboxConfig::default() }).unwrap();
    }
    let presets: Vec<_> = rows("\n## Presets\n").into_iter().flat_map(|row| words(row[0])).collect();
    assert_eq!(presets, Preset::ALL.map(Preset::as_str));
    let faults = rows("\n## Faults\n");
    assert!(faults.len() > 40);
    for row in faults {
        let place = if row[1] == "all" { "any" } else { row[1] };
        for what in words(row[0]) {
            format!("{place}:{what}").parse::<Fault>().unwrap();
        }
    }
}
