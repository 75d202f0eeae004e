//! How a made-up body measures: believable values that drift with age and with disease.

use super::rng::Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    Female,
    Male,
}

/// What stays the same through a life; measurements vary around it.
#[derive(Debug)]
pub struct Body {
    sex: Sex,
    /// This person's height over the median of their age and sex.
    stature: f64,
    /// Body mass index as an adult.
    bmi: f64,
    systolic: f64,
    glucose: f64,
    cholesterol: f64,
    hdl: f64,
    pulse: f64,
}

/// The diseases that show in measurements.
#[derive(Debug, Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "four diseases, each of which one has or has not")]
pub struct Ailments {
    pub hypertension: bool,
    pub diabetes: bool,
    pub hyperlipidemia: bool,
    pub obesity: bool,
}

/// Median height in cm by age, boys and girls apart only from puberty on.
const HEIGHTS: [(f64, f64, f64); 8] = [
    (0.0, 50.0, 50.0),
    (1.0, 75.0, 75.0),
    (2.0, 87.0, 87.0),
    (5.0, 109.0, 109.0),
    (10.0, 138.0, 138.0),
    (13.0, 157.0, 156.0),
    (16.0, 174.0, 162.0),
    (18.0, 176.0, 163.0),
];

impl Body {
    pub fn new(rng: &mut Rng, sex: Sex, ailments: Ailments) -> Self {
        let obese = if ailments.obesity { 7.5 } else { 0.0 };
        Self {
            sex,
            stature: rng.normal(1.0, 0.035),
            bmi: rng.normal(25.0, 2.2) + obese,
            systolic: rng.normal(114.0, 7.0),
            glucose: rng.normal(88.0, 6.0),
            cholesterol: rng.normal(172.0, 18.0),
            hdl: rng.normal(if sex == Sex::Female { 58.0 } else { 49.0 }, 8.0),
            pulse: rng.normal(72.0, 7.0),
        }
    }

    pub fn height(&self, age: f64) -> f64 {
        let of = |row: &(f64, f64, f64)| if self.sex == Sex::Male { row.1 } else { row.2 };
        let above = HEIGHTS.iter().position(|row| row.0 > age);
        let median = match above {
            Some(at) => {
                let (low, high) = (&HEIGHTS[at - 1], &HEIGHTS[at]);
                of(low) + (of(high) - of(low)) * (age - low.0) / (high.0 - low.0)
            }
            // The old lose about half a millimetre a year.
            None => of(&HEIGHTS[HEIGHTS.len() - 1]) - (age - 50.0).max(0.0) * 0.05,
        };
        median * self.stature
    }

    pub fn bmi(&self, age: f64, rng: &mut Rng) -> f64 {
        // Children are leaner; adults gain a little until about sixty.
        let grown = (age / 18.0).min(1.0);
        let gained = (age.min(60.0) - 30.0).max(0.0) * 0.06;
        (15.5 + (self.bmi - 15.5) * grown * grown + gained + rng.normal(0.0, 0.4)).max(13.0)
    }

    /// Systolic and diastolic, in mm\[Hg\].
    pub fn blood_pressure(&self, age: f64, ailments: Ailments, rng: &mut Rng) -> (f64, f64) {
        let child = (18.0 - age).max(0.0) * 1.3;
        let ageing = (age - 35.0).max(0.0) * 0.32;
        let disease = if ailments.hypertension { 19.0 } else { 0.0 };
        let systolic = self.systolic - child + ageing + disease + rng.normal(0.0, 4.0);
        let diastolic = systolic * 0.62 + rng.normal(2.0, 3.0);
        (systolic.round(), diastolic.round())
    }

    pub fn pulse(&self, age: f64, rng: &mut Rng) -> f64 {
        (self.pulse + (12.0 - age).max(0.0) * 3.0 + rng.normal(0.0, 4.0)).round()
    }

    /// mg/dL. `years_ill` makes diabetes worsen over the years.
    pub fn glucose(&self, ailments: Ailments, years_ill: f64, rng: &mut Rng) -> f64 {
        let disease = if ailments.diabetes { 42.0 + years_ill * 2.0 } else { 0.0 };
        (self.glucose + disease + rng.normal(0.0, 6.0)).round()
    }

    /// Percent, by the ADAG line between mean glucose and `HbA1c`.
    pub fn hba1c(glucose: f64) -> f64 {
        // A fasting value lies below the mean of the day.
        tenth((glucose * 1.12 + 46.7) / 28.7)
    }

    /// Total cholesterol, HDL, triglycerides, LDL, in mg/dL; LDL by Friedewald's formula.
    pub fn lipids(&self, age: f64, ailments: Ailments, rng: &mut Rng) -> [f64; 4] {
        let disease = if ailments.hyperlipidemia { 44.0 } else { 0.0 };
        let total = (self.cholesterol + age.min(65.0) * 0.25 + disease + rng.normal(0.0, 7.0)).round();
        let hdl = (self.hdl + rng.normal(0.0, 2.0)).max(25.0).round();
        let triglycerides = (95.0 + disease * 1.2 + rng.normal(0.0, 18.0)).round();
        [total, hdl, triglycerides, (total - hdl - triglycerides / 5.0).round()]
    }
}

pub fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
