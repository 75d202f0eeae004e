//! One made-up patient: who they are and what they suffer from. Their visits are in `visit.rs`.

use chrono::{DateTime, Datelike, Duration, SecondsFormat, TimeZone, Utc};

use super::body::{Ailments, Body, Sex};
use super::codes::{self, Chronic};
use super::rng::Rng;
use super::shapes::{Address, Coding, Concept, HumanName, Identifier, Meta, Resource};

/// The day the data was "taken": fixed, so that the same seed gives the same bytes next year too.
pub fn data_as_of() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 6, 30, 12, 0, 0).single().expect("a valid date")
}

const FEMALE: &[&str] = &[
    "Ada", "Beatriz", "Chloe", "Dalia", "Elena", "Fatima", "Grace", "Hana", "Ines", "Julia", "Keiko", "Lin", "Maria", "Nadia", "Olga",
    "Priya", "Rosa", "Sofia", "Tara", "Yara",
];
const MALE: &[&str] = &[
    "Adam", "Boris", "Carlos", "Diego", "Emil", "Felix", "Gustav", "Hugo", "Ivan", "Jamal", "Kenji", "Luis", "Marco", "Nils", "Omar",
    "Pavel", "Rafael", "Samir", "Tomas", "Wei",
];
const FAMILY: &[&str] = &[
    "Sandbox",
    "Testcase",
    "Mockley",
    "Fixture",
    "Sample",
    "Placeholder",
    "Dummy",
    "Example",
    "Specimen",
    "Synthesson",
    "Fakeman",
    "Demoski",
];
const CITIES: &[(&str, &str)] = &[
    ("Boston", "02108"),
    ("Worcester", "01608"),
    ("Springfield", "01103"),
    ("Cambridge", "02139"),
    ("Lowell", "01850"),
    ("Brockton", "02301"),
    ("Quincy", "02169"),
    ("Lynn", "01901"),
];

/// Shares of the population by decade of age, about as in the United States.
const AGES: [f64; 10] = [0.12, 0.125, 0.14, 0.135, 0.125, 0.12, 0.11, 0.075, 0.04, 0.01];

pub struct Person {
    pub rng: Rng,
    pub id: String,
    pub sex: Sex,
    pub birth: DateTime<Utc>,
    /// Nothing happens to the patient after this.
    pub until: DateTime<Utc>,
    pub ailments: Ailments,
    pub diseases: Vec<(&'static Chronic, DateTime<Utc>)>,
    pub body: Body,
    deceased: bool,
}

impl Person {
    pub fn new(mut rng: Rng) -> Self {
        let id = rng.id();
        let sex = if rng.chance(0.515) { Sex::Female } else { Sex::Male };
        let birth = data_as_of() - years(age(&mut rng));
        let age = years_between(birth, data_as_of());
        let deceased = rng.chance((age - 60.0).max(0.0) / 160.0);
        let until = if deceased { data_as_of() - Duration::days(rng.between(20, 900)) } else { data_as_of() };
        let diseases = diseases(&mut rng, birth, until);
        let has = |code: codes::Code| diseases.iter().any(|(disease, _)| disease.code.code == code.code);
        let ailments = Ailments {
            hypertension: has(codes::HYPERTENSION),
            diabetes: has(codes::DIABETES),
            hyperlipidemia: has(codes::HYPERLIPIDEMIA),
            obesity: has(codes::OBESITY),
        };
        let body = Body::new(&mut rng, sex, ailments);
        Self { rng, id, sex, birth, until, ailments, diseases, body, deceased }
    }

    pub fn age_at(&self, at: DateTime<Utc>) -> f64 {
        years_between(self.birth, at)
    }

    /// The Patient resource itself, last changed when the patient was last seen.
    pub fn resource(&mut self, last_seen: DateTime<Utc>) -> Resource {
        let (names, gender) = match self.sex {
            Sex::Female => (FEMALE, "female"),
            Sex::Male => (MALE, "male"),
        };
        let rng = &mut self.rng;
        // The numbers tell at a glance that nobody is called so.
        let name = HumanName {
            usage: "official",
            family: format!("{}{}", rng.pick(FAMILY), rng.between(10, 999)),
            given: [format!("{}{}", rng.pick(names), rng.between(10, 999))],
        };
        let (city, postal_code) = rng.pick(CITIES);
        let married = if rng.chance(0.55) { "M" } else { "S" };
        let mut meta = updated(last_seen);
        meta.security =
            Some([Coding { system: "http://terminology.hl7.org/CodeSystem/v3-ActReason", code: "HTEST", display: "test health data" }]);
        Resource::Patient {
            identifier: [Identifier { system: "urn:bulkhead:sandbox:mrn", value: format!("SBX-{:08}", rng.between(0, 99_999_999)) }],
            id: self.id.clone(),
            meta,
            active: true,
            name: [name],
            gender,
            birth_date: day(self.birth),
            deceased_date_time: self.deceased.then(|| stamp(self.until)),
            address: [Address { city, state: "MA", postal_code, country: "US" }],
            marital_status: Concept::plain(
                "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
                if years_between(self.birth, self.until) < 20.0 { "S" } else { married },
            ),
        }
    }
}

fn age(rng: &mut Rng) -> f64 {
    let mut left = rng.unit();
    for (decade, share) in (0_u8..).zip(AGES) {
        if left < share {
            return 10.0 * f64::from(decade) + 10.0 * rng.unit();
        }
        left -= share;
    }
    90.0 + 5.0 * rng.unit()
}

fn diseases(rng: &mut Rng, birth: DateTime<Utc>, until: DateTime<Utc>) -> Vec<(&'static Chronic, DateTime<Utc>)> {
    let age = years_between(birth, until);
    codes::CHRONIC
        .iter()
        .filter_map(|disease| {
            let ill = rng.chance(prevalence(disease, age));
            // Drawn in any case, so that one disease's odds do not shift the next one's luck.
            let since = age.min(60.0) * (0.05 + 0.45 * rng.unit());
            ill.then(|| (disease, until - years(since)))
        })
        .collect()
}

/// Linear between the table's ages of 10, 30, 50, 70 and 90 years.
fn prevalence(disease: &Chronic, age: f64) -> f64 {
    let steps = ((age - 10.0) / 20.0).clamp(0.0, 3.999);
    let share = steps.fract();
    let at = (0..4).rev().find(|at| f64::from(*at) <= steps).unwrap_or(0);
    let at = usize::try_from(at).unwrap_or(0);
    disease.prevalence[at] * (1.0 - share) + disease.prevalence[at + 1] * share
}

#[expect(clippy::cast_possible_truncation, reason = "a life has fewer than 2^63 minutes")]
pub fn years(count: f64) -> Duration {
    Duration::minutes((count * 365.25 * 24.0 * 60.0) as i64)
}

#[expect(clippy::cast_precision_loss, reason = "a life has fewer than 2^52 minutes")]
pub fn years_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_minutes() as f64 / (365.25 * 24.0 * 60.0)
}

pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub fn day(at: DateTime<Utc>) -> String {
    let date = at.date_naive();
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

pub fn updated(at: DateTime<Utc>) -> Meta {
    Meta { last_updated: stamp(at), security: None }
}
