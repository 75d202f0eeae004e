//! Real Synthea data, where this machine has it (`../shared/data` beside the project): what is served is what is in the tables.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use bulkhead_shared::domain::resource::table_of;
use bulkhead_tests::{App, SandboxConfig, Setup, rows};

use crate::setup;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name)
}

/// Lines of each table, counted as `zcat | wc -l` does.
fn lines_by_table(folder: &Path) -> Vec<(String, i64)> {
    let mut counts = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        if !name.ends_with(".ndjson.gz") {
            continue;
        }
        let table = table_of(name.split('.').next().expect("a type"));
        let file = BufReader::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).expect("a file")));
        *counts.entry(table.to_owned()).or_default() += i64::try_from(file.split(b'\n').count()).expect("few lines");
    }
    counts.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_groups_are_in_the_tables_line_for_line() {
    let groups = ["synthea-10", "synthea-group"];
    if let Some(missing) = groups.iter().map(|name| data(name)).find(|folder| !folder.is_dir()) {
        println!("SKIPPED: there is no real data at {}", missing.display());
        return;
    }
    let sandbox = SandboxConfig {
        data: groups.iter().map(|name| ((*name).to_owned(), data(name))).collect(),
        export_time: Duration::ZERO,
        resources_per_file: 1_000,
        ..setup().sandbox
    };
    let app = App::start(Setup { sandbox, workers: 2, ..setup() }).await;
    let jobs = [app.export(groups[0]).await, app.export(groups[1]).await];
    for (job, group) in jobs.into_iter().zip(groups) {
        app.until(job, "completed").await;
        let counts = rows::counts(&app.pool, job).await;
        let expected = lines_by_table(&data(group));
        assert!(expected.len() > 10, "{expected:?}");
        assert_eq!(counts, expected, "rows of {group} by table");
        app.assert_rows_right(job, group).await;
        println!("{group}: {} rows in {} tables", counts.iter().map(|(_, n)| n).sum::<i64>(), counts.len());
    }
    app.assert_nothing_left().await;
    assert_eq!(app.sandbox.stats().kick_offs, 2);
}
