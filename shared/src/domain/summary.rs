//! What an export's rows are summed up as.

use super::words;

words! {
    /// What a record of a summary is of.
    pub enum Kind {
        Patient = "patient",
        Condition = "condition",
        Encounter = "encounter",
        Observation = "observation",
        Medication = "medication",
        /// Any other: only counted.
        Resource = "resource",
    }
}

impl Kind {
    /// The resource type of its records; another kind's stands in each.
    #[must_use]
    pub const fn resource_type(self) -> Option<&'static str> {
        match self {
            Self::Patient => Some("Patient"),
            Self::Condition => Some("Condition"),
            Self::Encounter => Some("Encounter"),
            Self::Observation => Some("Observation"),
            Self::Medication => Some("MedicationRequest"),
            Self::Resource => None,
        }
    }
}
