//! What happens at a patient's visits: encounters and everything recorded in them.

use chrono::{DateTime, Duration, Utc};

use super::body::{Body, tenth};
use super::codes::{self, Acute, Code};
use super::person::{Person, day, stamp, updated, years};
use super::rng::Rng;
use super::shapes::{Coding, Component, Concept, Dosage, Period, Quantity, Reference, Resource};

const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
const CONDITION_CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
const OBSERVATION_CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// The record of one patient while it is written.
pub struct Record {
    person: Person,
    pub resources: Vec<Resource>,
    last_seen: DateTime<Utc>,
}

/// One visit: its Encounter's id and its time.
#[derive(Clone, Copy)]
struct Visit<'a> {
    id: &'a str,
    at: DateTime<Utc>,
}

/// All resources of one patient, the same for the same seed, group and index.
pub fn record(seed: u64, group: &str, index: u64) -> Vec<Resource> {
    let person = Person::new(Rng::new(seed, group, index));
    let last_seen = person.birth;
    let mut record = Record { person, resources: Vec::with_capacity(80), last_seen };
    record.check_ups();
    record.complaints();
    record.allergies();
    let patient = record.person.resource(record.last_seen);
    record.resources.push(patient);
    record.resources
}

impl Record {
    /// Check-ups over the last years: vitals each time, laboratory values for grown-ups, lasting diseases.
    fn check_ups(&mut self) {
        let mut at = self.person.until - Duration::days(self.person.rng.between(10, 300));
        let mut dates = Vec::new();
        for _ in 0..self.person.rng.between(3, 4) {
            // Somewhere in the opening hours.
            at -= Duration::minutes(self.person.rng.between(0, 540));
            if at > self.person.birth {
                dates.push(at);
            }
            at -= Duration::days(self.person.rng.between(300, 520));
        }
        dates.reverse();
        for (nth, at) in dates.iter().enumerate() {
            let adult = self.person.age_at(*at) >= 18.0;
            let (kind, class) = match (adult, nth % 3) {
                (false, _) => (codes::WELL_CHILD_VISIT, "WELLNESS"),
                (true, 2) => (codes::FOLLOW_UP_VISIT, "AMB"),
                (true, _) => (codes::WELLNESS_VISIT, "WELLNESS"),
            };
            let id = self.encounter(*at, kind, class, Duration::minutes(30), None);
            let visit = Visit { id: &id, at: *at };
            self.vitals(visit);
            if adult {
                self.laboratory(visit);
            }
            self.vaccines(visit, adult);
            self.procedure(visit);
            let seen_before = nth.checked_sub(1).map(|before| dates[before]);
            self.chronic(visit, seen_before);
        }
    }

    /// A few passing complaints, at the doctor's, in an emergency room, or with a stay.
    fn complaints(&mut self) {
        for _ in 0..self.person.rng.between(1, 4) {
            let span = self.person.age_at(self.person.until).min(7.0);
            let share = self.person.rng.unit();
            let at = self.person.until - years(span * share) - Duration::hours(2);
            if at <= self.person.birth {
                continue;
            }
            let complaint = self.person.rng.pick(codes::ACUTE);
            let (kind, class, length) = match self.person.rng.between(0, 9) {
                0 => (codes::HOSPITAL_STAY, "IMP", Duration::hours(self.person.rng.between(20, 140))),
                1 | 2 => (codes::EMERGENCY_VISIT, "EMER", Duration::minutes(self.person.rng.between(60, 400))),
                _ => (codes::PROBLEM_VISIT, "AMB", Duration::minutes(20)),
            };
            let id = self.encounter(at, kind, class, length, Some(complaint.code));
            self.complaint(Visit { id: &id, at }, &complaint);
        }
    }

    fn complaint(&mut self, visit: Visit<'_>, complaint: &Acute) {
        let end = visit.at + Duration::days(complaint.days);
        let over = end < self.person.until;
        self.condition(visit, complaint.code, visit.at, over.then_some(end));
        if let Some(medication) = complaint.medication {
            self.medication(visit, medication, complaint.code, !over);
        }
        let (systolic, diastolic) = self.pressure(visit.at);
        self.blood_pressure(visit, systolic, diastolic);
        self.procedure(visit);
    }

    fn encounter(&mut self, at: DateTime<Utc>, kind: Code, class: &'static str, length: Duration, reason: Option<Code>) -> String {
        let id = self.person.rng.id();
        let end = at + length;
        self.last_seen = self.last_seen.max(end);
        self.resources.push(Resource::Encounter {
            id: id.clone(),
            meta: updated(end),
            status: "finished",
            class: Coding { system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: class, display: "" },
            kind: [Concept::new(kind)],
            subject: self.subject(),
            period: Period { start: stamp(at), end: stamp(end) },
            reason_code: reason.map(|code| [Concept::new(code)]),
        });
        id
    }

    fn vitals(&mut self, visit: Visit<'_>) {
        let age = self.person.age_at(visit.at);
        let rng = &mut self.person.rng;
        let height = tenth(self.person.body.height(age));
        let bmi = self.person.body.bmi(age, rng);
        let weight = tenth(bmi * height * height / 10_000.0);
        let pulse = self.person.body.pulse(age, rng);
        let (systolic, diastolic) = self.pressure(visit.at);
        self.measure(visit, "vital-signs", codes::BODY_HEIGHT, height, "cm");
        self.measure(visit, "vital-signs", codes::BODY_WEIGHT, weight, "kg");
        if age >= 2.0 {
            self.measure(visit, "vital-signs", codes::BMI, tenth(bmi), "kg/m2");
        }
        self.measure(visit, "vital-signs", codes::HEART_RATE, pulse, "/min");
        self.blood_pressure(visit, systolic, diastolic);
    }

    fn pressure(&mut self, at: DateTime<Utc>) -> (f64, f64) {
        let age = self.person.age_at(at);
        self.person.body.blood_pressure(age, self.person.ailments, &mut self.person.rng)
    }

    fn blood_pressure(&mut self, visit: Visit<'_>, systolic: f64, diastolic: f64) {
        let part = |code, value| Component { code: Concept::new(code), value_quantity: Quantity::new(value, "mm[Hg]") };
        let parts = vec![part(codes::SYSTOLIC, systolic), part(codes::DIASTOLIC, diastolic)];
        self.observation(visit, "vital-signs", codes::BLOOD_PRESSURE, None, None, parts);
    }

    fn laboratory(&mut self, visit: Visit<'_>) {
        let age = self.person.age_at(visit.at);
        let ailments = self.person.ailments;
        if age >= 35.0 || ailments.diabetes {
            let ill = self.person.diseases.iter().find(|(disease, _)| disease.code.code == codes::DIABETES.code);
            let years_ill = ill.map_or(0.0, |(_, onset)| super::person::years_between(*onset, visit.at).max(0.0));
            let glucose = self.person.body.glucose(ailments, years_ill, &mut self.person.rng);
            let tests = vec![
                self.measure(visit, "laboratory", codes::GLUCOSE, glucose, "mg/dL"),
                self.measure(visit, "laboratory", codes::HBA1C, Body::hba1c(glucose), "%"),
            ];
            self.report(visit, codes::METABOLIC_PANEL, &tests);
        }
        if self.person.rng.chance(0.45) {
            let values = self.person.body.lipids(age, ailments, &mut self.person.rng);
            let codes = [codes::CHOLESTEROL, codes::HDL, codes::TRIGLYCERIDES, codes::LDL];
            let tests: Vec<_> =
                codes.into_iter().zip(values).map(|(code, value)| self.measure(visit, "laboratory", code, value, "mg/dL")).collect();
            self.report(visit, codes::LIPID_PANEL, &tests);
        }
        if self.person.rng.chance(0.35) {
            // Drawn from the patient's own id rather than anew: people seldom change.
            let habit = match self.person.id.as_bytes()[0] {
                b'0' | b'1' => codes::SMOKER,
                b'2'..=b'5' => codes::EX_SMOKER,
                _ => codes::NEVER_SMOKED,
            };
            self.observation(visit, "social-history", codes::SMOKING, None, Some(Concept::new(habit)), Vec::new());
        }
    }

    fn measure(&mut self, visit: Visit<'_>, category: &'static str, code: Code, value: f64, unit: &'static str) -> String {
        self.observation(visit, category, code, Some(Quantity::new(value, unit)), None, Vec::new())
    }

    fn observation(
        &mut self,
        visit: Visit<'_>,
        category: &'static str,
        code: Code,
        value: Option<Quantity>,
        concept: Option<Concept>,
        component: Vec<Component>,
    ) -> String {
        let id = self.person.rng.id();
        let issued = visit.at + Duration::minutes(20);
        self.resources.push(Resource::Observation {
            id: id.clone(),
            meta: updated(issued),
            status: "final",
            category: [Concept::plain(OBSERVATION_CATEGORY, category)],
            code: Concept::new(code),
            subject: self.subject(),
            encounter: Reference::to("Encounter", visit.id),
            effective_date_time: stamp(visit.at),
            issued: stamp(issued),
            value_quantity: value,
            value_codeable_concept: concept,
            component,
        });
        id
    }

    fn report(&mut self, visit: Visit<'_>, code: Code, tests: &[String]) {
        let issued = visit.at + Duration::hours(4);
        let report = Resource::DiagnosticReport {
            id: self.person.rng.id(),
            meta: updated(issued),
            status: "final",
            category: [Concept::plain("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB")],
            code: Concept::new(code),
            subject: self.subject(),
            encounter: Reference::to("Encounter", visit.id),
            effective_date_time: stamp(visit.at),
            issued: stamp(issued),
            result: tests.iter().map(|id| Reference::to("Observation", id)).collect(),
        };
        self.resources.push(report);
    }

    /// Lasting diseases are recorded once, at the first check-up after their onset, and treated from then on.
    fn chronic(&mut self, visit: Visit<'_>, seen_before: Option<DateTime<Utc>>) {
        let new: Vec<_> = self
            .person
            .diseases
            .iter()
            .filter(|(_, onset)| *onset <= visit.at && seen_before.is_none_or(|before| *onset > before))
            .copied()
            .collect();
        for (disease, onset) in new {
            self.condition(visit, disease.code, onset, None);
            if !disease.medication.is_empty() {
                let medication = self.person.rng.pick(disease.medication);
                self.medication(visit, medication, disease.code, false);
                self.medication(visit, medication, disease.code, true);
            }
        }
    }

    fn condition(&mut self, visit: Visit<'_>, code: Code, onset: DateTime<Utc>, end: Option<DateTime<Utc>>) {
        let status = if end.is_some() { "resolved" } else { "active" };
        let condition = Resource::Condition {
            id: self.person.rng.id(),
            meta: updated(end.unwrap_or(visit.at) + Duration::hours(1)),
            clinical_status: Concept::plain(CLINICAL, status),
            verification_status: Concept::plain(VERIFICATION, "confirmed"),
            category: [Concept::plain(CONDITION_CATEGORY, "encounter-diagnosis")],
            code: Concept::new(code),
            subject: self.subject(),
            encounter: Reference::to("Encounter", visit.id),
            onset_date_time: stamp(onset),
            abatement_date_time: end.map(stamp),
            recorded_date: day(visit.at),
        };
        self.resources.push(condition);
    }

    fn medication(&mut self, visit: Visit<'_>, medication: Code, reason: Code, active: bool) {
        let request = Resource::MedicationRequest {
            id: self.person.rng.id(),
            meta: updated(visit.at + Duration::hours(1)),
            status: if active { "active" } else { "completed" },
            intent: "order",
            medication_codeable_concept: Concept::new(medication),
            subject: self.subject(),
            encounter: Reference::to("Encounter", visit.id),
            authored_on: stamp(visit.at),
            reason_code: Some([Concept::new(reason)]),
            dosage_instruction: [Dosage { text: self.person.rng.pick(&["Once a day", "Twice a day", "As needed"]) }],
        };
        self.resources.push(request);
    }

    fn procedure(&mut self, visit: Visit<'_>) {
        let length = Duration::minutes(self.person.rng.between(5, 40));
        let procedure = Resource::Procedure {
            id: self.person.rng.id(),
            meta: updated(visit.at + length),
            status: "completed",
            code: Concept::new(self.person.rng.pick(codes::PROCEDURES)),
            subject: self.subject(),
            encounter: Reference::to("Encounter", visit.id),
            performed_period: Period { start: stamp(visit.at), end: stamp(visit.at + length) },
        };
        self.resources.push(procedure);
    }

    fn vaccines(&mut self, visit: Visit<'_>, adult: bool) {
        let (from, count) = if adult { (codes::VACCINES_ADULT, 1) } else { (codes::VACCINES_CHILD, self.person.rng.between(1, 3)) };
        for _ in 0..count {
            let vaccine = Resource::Immunization {
                id: self.person.rng.id(),
                meta: updated(visit.at + Duration::minutes(10)),
                status: "completed",
                vaccine_code: Concept::new(self.person.rng.pick(from)),
                patient: self.subject(),
                encounter: Reference::to("Encounter", visit.id),
                occurrence_date_time: stamp(visit.at),
                primary_source: true,
            };
            self.resources.push(vaccine);
        }
    }

    fn allergies(&mut self) {
        if !self.person.rng.chance(0.3) {
            return;
        }
        for _ in 0..self.person.rng.between(1, 2) {
            let (category, code) = self.person.rng.pick(codes::ALLERGIES);
            let system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
            let verification = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
            let allergy = Resource::AllergyIntolerance {
                id: self.person.rng.id(),
                meta: updated(self.last_seen),
                clinical_status: Concept::plain(system, "active"),
                verification_status: Concept::plain(verification, "confirmed"),
                category: [category],
                criticality: self.person.rng.pick(&["low", "low", "high"]),
                code: Concept::new(code),
                patient: self.subject(),
                recorded_date: day(self.last_seen),
            };
            self.resources.push(allergy);
        }
    }

    fn subject(&self) -> Reference {
        Reference::to("Patient", &self.person.id)
    }
}
