//! The FHIR R4 elements the generator writes, in the order a reader expects them.

use serde::{Serialize, Serializer};

use super::codes::Code;

/// FHIR decimals without a pointless `.0`.
#[derive(Debug, Clone, Copy)]
pub struct Decimal(pub f64);

impl Serialize for Decimal {
    #[expect(clippy::cast_possible_truncation, reason = "whole and far below 2^53")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 { serializer.serialize_i64(self.0 as i64) } else { serializer.serialize_f64(self.0) }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    pub last_updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<[Coding; 1]>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Coding {
    pub system: &'static str,
    pub code: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub display: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct Concept {
    pub coding: [Coding; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub text: &'static str,
}

impl Concept {
    pub fn new(code: Code) -> Self {
        Self { text: code.display, coding: [Coding { system: code.system.url(), code: code.code, display: code.display }] }
    }

    /// A coded status or category: a code of `system` with nothing more to say.
    pub fn plain(system: &'static str, code: &'static str) -> Self {
        let coding = Coding { system, code, display: "" };
        Self { coding: [coding], text: "" }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Reference {
    pub reference: String,
}

impl Reference {
    pub fn to(kind: &str, id: &str) -> Self {
        Self { reference: format!("{kind}/{id}") }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Period {
    pub start: String,
    pub end: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Quantity {
    pub value: Decimal,
    pub unit: &'static str,
    pub system: &'static str,
    pub code: &'static str,
}

impl Quantity {
    pub fn new(value: f64, unit: &'static str) -> Self {
        Self { value: Decimal(value), unit, system: "http://unitsofmeasure.org", code: unit }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    pub code: Concept,
    pub value_quantity: Quantity,
}

#[derive(Debug, Serialize)]
pub struct Identifier {
    pub system: &'static str,
    pub value: String,
}

#[derive(Debug, Serialize)]
pub struct HumanName {
    #[serde(rename = "use")]
    pub usage: &'static str,
    pub family: String,
    pub given: [String; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    pub city: &'static str,
    pub state: &'static str,
    pub postal_code: &'static str,
    pub country: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Dosage {
    pub text: &'static str,
}

/// One resource. Elements a type does not have stay `None`; the generator fills only what R4 allows.
#[derive(Debug, Serialize)]
#[serde(tag = "resourceType", rename_all_fields = "camelCase")]
pub enum Resource {
    Patient {
        id: String,
        meta: Meta,
        identifier: [Identifier; 1],
        active: bool,
        name: [HumanName; 1],
        gender: &'static str,
        birth_date: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        deceased_date_time: Option<String>,
        address: [Address; 1],
        marital_status: Concept,
    },
    Encounter {
        id: String,
        meta: Meta,
        status: &'static str,
        class: Coding,
        #[serde(rename = "type")]
        kind: [Concept; 1],
        subject: Reference,
        period: Period,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason_code: Option<[Concept; 1]>,
    },
    Condition {
        id: String,
        meta: Meta,
        clinical_status: Concept,
        verification_status: Concept,
        category: [Concept; 1],
        code: Concept,
        subject: Reference,
        encounter: Reference,
        onset_date_time: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        abatement_date_time: Option<String>,
        recorded_date: String,
    },
    Observation {
        id: String,
        meta: Meta,
        status: &'static str,
        category: [Concept; 1],
        code: Concept,
        subject: Reference,
        encounter: Reference,
        effective_date_time: String,
        issued: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        value_quantity: Option<Quantity>,
        #[serde(skip_serializing_if = "Option::is_none")]
        value_codeable_concept: Option<Concept>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        component: Vec<Component>,
    },
    MedicationRequest {
        id: String,
        meta: Meta,
        status: &'static str,
        intent: &'static str,
        medication_codeable_concept: Concept,
        subject: Reference,
        encounter: Reference,
        authored_on: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason_code: Option<[Concept; 1]>,
        dosage_instruction: [Dosage; 1],
    },
    Procedure {
        id: String,
        meta: Meta,
        status: &'static str,
        code: Concept,
        subject: Reference,
        encounter: Reference,
        performed_period: Period,
    },
    Immunization {
        id: String,
        meta: Meta,
        status: &'static str,
        vaccine_code: Concept,
        patient: Reference,
        encounter: Reference,
        occurrence_date_time: String,
        primary_source: bool,
    },
    AllergyIntolerance {
        id: String,
        meta: Meta,
        clinical_status: Concept,
        verification_status: Concept,
        category: [&'static str; 1],
        criticality: &'static str,
        code: Concept,
        patient: Reference,
        recorded_date: String,
    },
    DiagnosticReport {
        id: String,
        meta: Meta,
        status: &'static str,
        category: [Concept; 1],
        code: Concept,
        subject: Reference,
        encounter: Reference,
        effective_date_time: String,
        issued: String,
        result: Vec<Reference>,
    },
}

impl Resource {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Patient { .. } => "Patient",
            Self::Encounter { .. } => "Encounter",
            Self::Condition { .. } => "Condition",
            Self::Observation { .. } => "Observation",
            Self::MedicationRequest { .. } => "MedicationRequest",
            Self::Procedure { .. } => "Procedure",
            Self::Immunization { .. } => "Immunization",
            Self::AllergyIntolerance { .. } => "AllergyIntolerance",
            Self::DiagnosticReport { .. } => "DiagnosticReport",
        }
    }
}
