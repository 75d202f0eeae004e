//! From NDJSON on this machine's disk to committed rows, against what people use: `cargo bench -p bulkhead-tests --bench load`.
//!
//! Bulkhead's side is a real worker process with the queue and everything: from the moment its loads may run to the last commit.
//! psql's side is `\copy` of a TSV that is ready, its columns computed and escaped beforehand, at no cost to psql.

mod opponents;
mod ours;

use std::path::Path;

use bulkhead_tests::bench::{
    Bench, Goal, Samples,
    data::{self, Shape},
};
use opponents::Opponents;
use ours::Ours;

const ONE: &str = "Bulkhead, one stream";
const TWO: &str = "Bulkhead, two streams";

#[tokio::main]
async fn main() {
    let bench = Bench::start("load: NDJSON to rows");
    let bytes = bench.size(200 << 20, 1 << 20);
    for shape in [Shape::Small, Shape::Large] {
        let folder = tempfile::tempdir().expect("a folder");
        let kind = shape.resource_type();
        let path = folder.path().join(format!("{kind}.ndjson"));
        let title = format!("{shape:?} made-up {kind}s");
        if bench.wants(&title) {
            let lines = data::write(&path, shape, bytes, 1);
            race(&bench, &title, shape, &path, lines).await;
        }
        let title = format!("Synthea's own {kind}s, with new ids");
        if bench.wants(&title) {
            match data::write_real(&path, kind, bytes, 2) {
                Some(lines) => race(&bench, &title, shape, &path, lines).await,
                None => println!("\n{title}: not beside the project, not measured"),
            }
        }
    }
}

/// All contestants, taking turns.
#[expect(clippy::cast_precision_loss, reason = "a file's size")]
async fn race(bench: &Bench, title: &str, shape: Shape, path: &Path, lines: u64) {
    let megabytes = std::fs::metadata(path).expect("a file").len() as f64 / 1e6;
    println!("\n## {title}: {lines} rows, {megabytes:.0} MB, {:.0} bytes each", megabytes * 1e6 / lines as f64);
    let ours = Ours::start(shape, path, env!("CARGO_BIN_EXE_bulkhead-test-worker")).await;
    let opponents = Opponents::prepare(&ours.app.database, shape, path, ours.export_id).await;
    let mut rates = Samples::of("MB of NDJSON a second");
    let mut profile = Samples::of("% of one processor, while it loads");
    for _ in 0..bench.runs {
        for opponent in opponents.all() {
            rates.add(opponent.name(), megabytes / opponents.run(opponent).await);
        }
        for (name, streams) in [(ONE, 1), (TWO, 2)] {
            let run = ours.run(streams).await;
            rates.add(name, megabytes / run.seconds);
            profile.add(format!("{name}: its backends"), 100.0 * run.backends / run.seconds);
            profile.add(format!("{name}: the worker"), 100.0 * run.worker / run.seconds);
            opponents.assert_same_rows().await;
        }
    }
    rates.print();
    profile.print();
    verdicts(&rates, shape);
}

fn verdicts(rates: &Samples, shape: Shape) {
    use opponents::{DEFAULT, PYTHON, SAME};
    println!("ratios");
    let (same, default) = match shape {
        Shape::Small => (Goal::AtLeast(1.15, 1.30), Goal::AtLeast(1.25, 1.40)),
        Shape::Large => (Goal::None, Goal::AtLeast(1.55, 1.75)),
    };
    rates.ratio("one stream / psql, same definition", ONE, SAME, same);
    rates.ratio("one stream / psql, default table", ONE, DEFAULT, default);
    rates.ratio("two streams / one psql, default table", TWO, DEFAULT, Goal::AtLeast(1.9, 2.3));
    rates.ratio("one stream / psycopg2 execute_values", ONE, PYTHON, Goal::AtLeast(6.0, 10.0));
    rates.ratio("two streams / one stream", TWO, ONE, Goal::None);
}
