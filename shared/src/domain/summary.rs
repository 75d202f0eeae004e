//! What an export's rows are summed up as.

use super::words;

words! {
    /// What a record of a summary is of.
    pub enum Kind {
        Patient = "patient",
        Condition = "condition",
        Encounter = "encounter",
        Observation = "observation",
        /// A part of an observation that has several values.
        Component = "component",
        Medication = "medication",
        /// Any other: only counted.
        Resource = "resource",
    }
}

impl Kind {
    /// The resource type of its records; of others each says its own.
    #[must_use]
    pub const fn resource_type(self) -> Option<&'static str> {
        match self {
            Self::Patient => Some("Patient"),
            Self::Condition => Some("Condition"),
            Self::Encounter => Some("Encounter"),
            Self::Observation | Self::Component => Some("Observation"),
            Self::Medication => Some("MedicationRequest"),
            Self::Resource => None,
        }
    }

    /// Whether its records have a day that charts are about.
    #[must_use]
    pub const fn has_days(self) -> bool {
        matches!(self, Self::Patient | Self::Encounter | Self::Observation | Self::Component)
    }
}
