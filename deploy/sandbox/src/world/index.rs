//! Whose a resource is, for searches and for exports of some patients.

use std::collections::HashMap;

use serde::Deserialize;

use super::lines::Lines;

/// Of the lines of one type of one Group.
#[derive(Debug, Default)]
pub struct Index {
    by_id: HashMap<String, usize>,
    by_patient: HashMap<String, Vec<usize>>,
}

impl Index {
    pub fn new(kind: &str, lines: &Lines) -> Self {
        let mut index = Self::default();
        for (at, line) in lines.iter().enumerate() {
            let Some(about) = About::read(line) else { continue };
            if let Some(patient) = about.patient(kind) {
                index.by_patient.entry(patient.to_owned()).or_default().push(at);
            }
            index.by_id.entry(about.id).or_insert(at);
        }
        index
    }

    pub fn with_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub fn of_patient(&self, id: &str) -> &[usize] {
        self.by_patient.get(id).map_or(&[], Vec::as_slice)
    }
}

/// What a resource says about itself.
#[derive(Debug, Deserialize)]
pub struct About {
    #[serde(default)]
    pub id: String,
    subject: Option<Reference>,
    patient: Option<Reference>,
    beneficiary: Option<Reference>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    reference: Option<String>,
}

impl About {
    pub fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The id of the patient it is of; a Patient's own.
    pub fn patient(&self, kind: &str) -> Option<&str> {
        if kind == "Patient" {
            return Some(&self.id);
        }
        let references = [&self.subject, &self.patient, &self.beneficiary].into_iter().flatten();
        references.filter_map(|reference| reference.reference.as_deref()).find_map(patient_id)
    }
}

/// The id in `Patient/1`, `http://host/fhir/Patient/1`, `urn:uuid:1`.
pub fn patient_id(reference: &str) -> Option<&str> {
    if let Some(id) = reference.strip_prefix("urn:uuid:") {
        return Some(id);
    }
    let (before, id) = reference.rsplit_once('/')?;
    (before == "Patient" || before.ends_with("/Patient")).then_some(id)
}
