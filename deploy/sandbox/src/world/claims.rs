//! Claims as an insurer exports them: an `ExplanationOfBenefit` of about 3.6 kB, as those of a CARIN Blue Button server.

use chrono::Duration;
use serde_json::{Value, json};

use super::codes;
use super::person::{data_as_of, stamp};
use super::rng::Rng;

const ADJUDICATION: &str = "http://terminology.hl7.org/CodeSystem/adjudication";
const CLAIM_TYPE: &str = "http://terminology.hl7.org/CodeSystem/claim-type";
const PROFILE: &str = "http://hl7.org/fhir/us/carin-bb/StructureDefinition/C4BB-ExplanationOfBenefit-Professional-NonClinician|2.0.0";

/// One claim, the same for the same seed and number; a patient has about ten.
pub fn explanation_of_benefit(seed: u64, n: u64) -> Vec<u8> {
    let patient = Rng::new(seed, "claimant", n / 10).id();
    let mut rng = Rng::new(seed, "claim", n);
    let id = rng.id();
    let at = data_as_of() - Duration::minutes(rng.between(0, 2_000_000));
    let day = at.format("%Y-%m-%d").to_string();
    let items: Vec<Value> = (1..=3).map(|sequence| item(&mut rng, sequence, &day)).collect();
    let paid = amount(&mut rng);
    let claim = json!({
        "resourceType": "ExplanationOfBenefit",
        "id": id,
        "meta": {"lastUpdated": stamp(at), "profile": [PROFILE]},
        "identifier": [{"system": "https://example.org/claims", "value": format!("CLM{:012}", rng.between(0, 999_999_999_999))}],
        "status": "active",
        "type": {"coding": [{"system": CLAIM_TYPE, "code": "professional", "display": "Professional"}], "text": "Professional"},
        "use": "claim",
        "patient": {"reference": format!("Patient/{patient}")},
        "billablePeriod": {"start": day, "end": day},
        "created": stamp(at),
        "insurer": {"reference": format!("Organization/{}", rng.id()), "display": "Sandbox Mutual"},
        "provider": {"reference": format!("Practitioner/{}", rng.id())},
        "outcome": "complete",
        "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept(rng.pick(codes::ACUTE).code)}],
        "insurance": [{"focal": true, "coverage": {"reference": format!("Coverage/{}", rng.id())}}],
        "item": items,
        "total": [{"category": category("submitted"), "amount": amount(&mut rng)}, {"category": category("benefit"), "amount": paid.clone()}],
        "payment": {"date": day, "amount": paid},
    });
    serde_json::to_vec(&claim).expect("plain JSON")
}

fn item(rng: &mut Rng, sequence: u32, day: &str) -> Value {
    let adjudication: Vec<Value> =
        ["submitted", "eligible", "deductible"].iter().map(|code| json!({"category": category(code), "amount": amount(rng)})).collect();
    json!({
        "sequence": sequence,
        "diagnosisSequence": [1],
        "productOrService": concept(rng.pick(codes::ACUTE).code),
        "servicedDate": day,
        "quantity": {"value": rng.between(1, 5)},
        "adjudication": adjudication,
    })
}

fn concept(code: codes::Code) -> Value {
    json!({"coding": [{"system": code.system.url(), "code": code.code, "display": code.display}]})
}

fn category(code: &str) -> Value {
    json!({"coding": [{"system": ADJUDICATION, "code": code}]})
}

fn amount(rng: &mut Rng) -> Value {
    json!({"value": (rng.unit() * 100_000.0).round() / 100.0, "currency": "USD"})
}
