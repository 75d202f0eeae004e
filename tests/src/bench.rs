//! Measuring: contestants take turns in one run of one process, and what counts is the ratio of their medians. Absolute
//! numbers are another machine's tomorrow.

pub mod data;
mod durable;
mod machine;
mod samples;

pub use durable::Durable;
pub use machine::processor_seconds;
pub use samples::{Goal, Samples, quantile};

/// Fewer runs than this say nothing.
const RUNS: usize = 5;

/// Little input, one run: nothing to judge.
fn is_quick() -> bool {
    std::env::args().any(|argument| argument == QUICK)
}

const QUICK: &str = "--quick";

/// One program under `benches/`.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Only that it runs: little input, one run, no verdict.
    pub quick: bool,
    /// How often each contestant runs.
    pub runs: usize,
    /// Only what has one of these words in its title; all, without words.
    words: Vec<String>,
}

impl Bench {
    /// Reads the command line, tells what is measured and on what machine.
    ///
    /// # Panics
    /// On an argument it does not know.
    #[must_use]
    pub fn start(title: &str) -> Self {
        let mut bench = Self { quick: false, runs: RUNS, words: Vec::new() };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // What cargo itself adds.
                "--bench" => {}
                QUICK => (bench.quick, bench.runs) = (true, 1),
                word if !word.starts_with('-') => bench.words.push(word.to_lowercase()),
                other => panic!("{other}: not known here; a benchmark takes --quick, and words of the titles to run"),
            }
        }
        println!("# {title}");
        println!("{}; {}", machine::facts(), if cfg!(debug_assertions) { "unoptimised" } else { "optimised" });
        if bench.quick {
            println!("--quick: shows that it runs, measures nothing");
        } else {
            println!("medians of {} interleaved runs", bench.runs);
        }
        bench
    }

    /// Whether a part of the benchmark was asked for.
    #[must_use]
    pub fn wants(&self, title: &str) -> bool {
        let title = title.to_lowercase();
        self.words.is_empty() || self.words.iter().any(|word| title.contains(word))
    }

    /// The size of something: all of it, or little for `--quick`.
    #[must_use]
    pub fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}
