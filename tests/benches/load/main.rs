//! From NDJSON on this machine's disk to committed rows, against what people use: `cargo bench -p bulkhead-tests --bench load`.
//!
//! Bulkhead's side is a real worker process with the queue and everything: from the moment its loads may run to the last commit.
//! psql's side is `\copy` of a TSV that is ready, its columns computed and escaped beforehand, at no cost to psql.

mod opponents;
mod ours;

use bulkhead_tests::bench::{Bench, Goal, Samples};
use opponents::Opponents;
use ours::{Input, Ours};

const ONE: &str = "Bulkhead, one stream";
const TWO: &str = "Bulkhead, two streams";

/// What kind of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Observations, under a kilobyte.
    Small,
    /// ExplanationOfBenefits, some kilobytes.
    Large,
}

impl Shape {
    pub const fn resource_type(self) -> &'static str {
        match self {
            Self::Small => "Observation",
            Self::Large => "ExplanationOfBenefit",
        }
    }

    pub const fn table(self) -> &'static str {
        match self {
            Self::Small => "observations",
            Self::Large => "explanation_of_benefits",
        }
    }
}

#[tokio::main]
async fn main() {
    let bench = Bench::start("load: NDJSON to rows");
    let bytes = bench.size(200_000_000, 1_000_000);
    for shape in [Shape::Small, Shape::Large] {
        for input in [Input::Generated, Input::Real] {
            let title = format!("{shape:?}: {input:?} {}s", shape.resource_type());
            if bench.wants(&title) {
                race(&bench, &title, shape, input, bytes).await;
            }
        }
    }
}

/// All contestants, taking turns.
#[expect(clippy::cast_precision_loss, reason = "a file's size")]
async fn race(bench: &Bench, title: &str, shape: Shape, input: Input, bytes: usize) {
    let Some(ours) = Ours::start(shape, input, bytes, env!("CARGO_BIN_EXE_bulkhead-test-worker")).await else {
        println!("\n## {title}: no such data beside the project, not measured");
        return;
    };
    let opponents = Opponents::prepare(&ours.app.database, shape, &ours.ndjson, ours.export_id).await;
    let (megabytes, lines) = (std::fs::metadata(&ours.ndjson).expect("a file").len() as f64 / 1e6, opponents.lines);
    println!("\n## {title}: {lines} rows, {megabytes:.0} MB, {:.0} bytes each", megabytes * 1e6 / lines as f64);
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
