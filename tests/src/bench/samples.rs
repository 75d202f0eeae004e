//! What was measured, by contestant.

/// What a ratio should reach. Less is better where the ratio is one of times to an opponent's times.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    AtLeast(f64, f64),
    AtMost(f64, f64),
    /// Reported only.
    None,
}

/// Numbers of one unit, several a contestant.
#[derive(Debug, Default)]
pub struct Samples {
    unit: &'static str,
    rows: Vec<(String, Vec<f64>)>,
}

impl Samples {
    #[must_use]
    pub fn of(unit: &'static str) -> Self {
        Self { unit, rows: Vec::new() }
    }

    /// One measurement.
    pub fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        match self.rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => self.rows.push((name, vec![value])),
        }
    }

    /// All of a contestant.
    #[must_use]
    pub fn values(&self, name: &str) -> &[f64] {
        self.rows.iter().find(|(known, _)| known == name).map_or(&[], |(_, values)| values)
    }

    /// The median of a contestant; `None` if it did not run.
    #[must_use]
    pub fn median(&self, name: &str) -> Option<f64> {
        let values = self.values(name);
        (!values.is_empty()).then(|| quantile(values, 0.5))
    }

    /// Every contestant: median, least, most.
    pub fn print(&self) {
        println!("{:<66} {:>10} {:>10} {:>10}", self.unit, "median", "least", "most");
        for (name, values) in &self.rows {
            println!("  {name:<64} {:>10.2} {:>10.2} {:>10.2}", quantile(values, 0.5), quantile(values, 0.0), quantile(values, 1.0));
        }
    }

    /// The median of one divided by the median of another, beside its goals.
    pub fn ratio(&self, what: &str, of: &str, to: &str, goal: Goal) {
        let (Some(of), Some(to)) = (self.median(of), self.median(to)) else {
            println!("  {what:<64} {:>10}", "not run");
            return;
        };
        println!("  {what:<64} {:>10.2} {}", of / to, goal.verdict(of / to));
    }
}

impl Goal {
    /// How a number stands to its goals.
    #[must_use]
    pub fn verdict(self, value: f64) -> String {
        if super::is_quick() {
            return "(--quick: not judged)".to_owned();
        }
        let (reached, far, word) = match self {
            Self::AtLeast(goal, far) => (value >= goal, value >= far, format!("at least {goal}, far {far}")),
            Self::AtMost(goal, far) => (value <= goal, value <= far, format!("at most {goal}, far {far}")),
            Self::None => return String::new(),
        };
        format!(
            "{} (goal: {word})",
            if far {
                "FAR GOAL"
            } else if reached {
                "GOAL"
            } else {
                "missed"
            }
        )
    }
}

/// The value below which such a share of the values lies: 0.5 is the median.
///
/// # Panics
/// Without values.
#[must_use]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few values")]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let measured = [0.0, 0.5, 0.99, 1.0].map(|share| quantile(&values, share).to_string());
        assert_eq!(measured, ["1", "3", "5", "5"]);
    }

    #[test]
    fn ratios_are_of_medians() {
        let mut samples = Samples::of("seconds");
        for (a, b) in [(1.0, 2.0), (9.0, 4.0), (2.0, 6.0)] {
            samples.add("a", a);
            samples.add("b", b);
        }
        assert_eq!((samples.median("a"), samples.median("b"), samples.median("c")), (Some(2.0), Some(4.0), None));
        assert!(Goal::AtLeast(1.5, 3.0).verdict(2.0).starts_with("GOAL"));
        assert!(Goal::AtMost(1.5, 1.0).verdict(2.0).starts_with("missed"));
    }
}
