//! What is asked of a server by FHIR search instead of a bulk export, and where such a search stands (FHIR R4, "Search").

use serde::{Deserialize, Serialize};

/// One search: a type, of some patients or of all. Its pages come into one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    pub resource_type: String,
    /// Whose; all of the type when there is nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patients: Option<Patients>,
    /// Further parameters: name and value.
    #[serde(default)]
    pub query: Vec<(String, String)>,
}

/// Whose resources, and by which parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patients {
    /// `patient`, `subject`, `_id` ...
    pub by: String,
    pub ids: Vec<String>,
}

impl Patients {
    /// `a,b,c`. A parameter that may point at other types too gets the type with the id.
    fn value(&self) -> String {
        let typed = !matches!(self.by.as_str(), "patient" | "_id");
        let names: Vec<String> = self.ids.iter().map(|id| if typed { format!("Patient/{}", escaped(id)) } else { escaped(id) }).collect();
        names.join(",")
    }
}

/// A value in a list of values (FHIR R4, "Escaping Search Parameters").
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, ',' | '|' | '$' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

impl Search {
    /// The parameters, in order.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, String)> {
        let patients = self.patients.iter().map(|patients| (patients.by.clone(), patients.value()));
        patients.chain(self.query.iter().cloned()).collect()
    }

    /// The same in pieces of so many patients at most; `None` when it is one already.
    #[must_use]
    pub fn in_pieces(&self, size: usize) -> Option<Vec<Self>> {
        let patients = self.patients.as_ref().filter(|patients| patients.ids.len() > size)?;
        let of = |ids: &[String]| Self { patients: Some(Patients { by: patients.by.clone(), ids: ids.to_vec() }), ..self.clone() };
        Some(patients.ids.chunks(size.max(1)).map(of).collect())
    }

    /// How many patients a half of it has; `None` when there are no two.
    #[must_use]
    pub fn half(&self) -> Option<usize> {
        self.patients.as_ref().map(|patients| patients.ids.len()).filter(|all| *all > 1).map(|all| all.div_ceil(2))
    }

    /// Words of a server without the ids of these patients: servers quote the question that they refuse.
    #[must_use]
    pub fn redacted(&self, words: &str) -> String {
        let Some(patients) = &self.patients else { return words.to_owned() };
        let of_an_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let mut text = String::with_capacity(words.len());
        let mut rest = words;
        while let Some(first) = rest.find(of_an_id) {
            // A quoted query is encoded: `%2C` is a comma, and not part of the id behind it.
            let encoded = rest[..first].ends_with('%') && rest[first..].bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
            let start = if encoded { first + 2 } else { first };
            let len = rest[start..].find(|c| !of_an_id(c)).unwrap_or(rest.len() - start);
            let (before, word) = (&rest[..start], &rest[start..start + len]);
            text.push_str(before);
            // The full stop may be the sentence's.
            let named = |id: &String| id == word || id == word.trim_end_matches('.');
            text.push_str(if patients.ids.iter().any(named) { "…" } else { word });
            rest = &rest[start + len..];
        }
        text + rest
    }

    /// Every patient is asked for by id and nothing is filtered: whoever does not come is not there.
    #[must_use]
    pub fn asked_by_id(&self) -> Option<i64> {
        let patients = self.patients.as_ref().filter(|patients| patients.by == "_id" && self.query.is_empty())?;
        i64::try_from(patients.ids.len()).ok()
    }
}

/// Where a search stands: all before it is stored in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// The page to ask for; none at the beginning and at the end.
    pub next: Option<String>,
    /// There are no more pages.
    pub at_end: bool,
    /// Number of the first part that is not stored by this reading: there may be more of an earlier one.
    pub part: i32,
    /// How often the server forgot its pages in the middle, without a new part in between.
    pub forgotten: i32,
    /// How it is asked.
    pub manner: Manner,
    pub seen: Seen,
}

/// How a server is asked: each is tried when the one before is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// In an order that does not change and with an exact total; what the server does not know it is to refuse (FHIR R4, "Search",
    /// "Handling Errors").
    #[default]
    Exact,
    /// Not in any order.
    Strict,
    /// The server may leave out what it does not know.
    Lenient,
}

/// What the pages before the cursor held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    pub pages: i64,
    /// `Bundle.total` of the first page that says one.
    pub first_total: Option<i64>,
    /// Of the last one that does.
    pub total: Option<i64>,
    /// A total was not the number of matches on its page: it is of the whole search.
    pub total_is_of_all: bool,
    /// Resources that match.
    pub matches: i64,
    /// Of them those that an earlier page had too: the pages shift.
    pub repeated: i64,
    /// Of them those of patients who were not asked for.
    pub strangers: i64,
    /// Of them those that are older or newer than `_lastUpdated` allows.
    pub out_of_time: i64,
    /// Parameters that the server does not name among those it applied.
    pub not_applied: Vec<String>,
    /// The one patient whom all matches are of.
    pub owner: Option<String>,
    /// They are of several.
    pub owners: bool,
    /// Resources that the server added.
    pub included: i64,
    /// Entries that say they match, and hold no resource.
    pub empty_matches: i64,
    /// Other entries without a resource.
    pub empty: i64,
    /// OperationOutcomes among the entries.
    pub outcomes: Vec<Said>,
}

/// What a server said in an OperationOutcome, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub severity: String,
    pub text: String,
    pub count: i64,
}

impl Seen {
    /// Different sentences of a server that are kept.
    const SENTENCES: usize = 20;

    /// Takes a sentence in; beyond so many different ones they are counted together.
    pub fn said(&mut self, severity: &str, text: String) {
        let full = self.outcomes.len() >= Self::SENTENCES;
        let known = |outcomes: &[Said], text: &str| outcomes.iter().position(|said| said.severity == severity && said.text == text);
        let text = if full && known(&self.outcomes, &text).is_none() { "other outcomes".to_owned() } else { text };
        match known(&self.outcomes, &text) {
            Some(at) => self.outcomes[at].count += 1,
            None => self.outcomes.push(Said { severity: severity.to_owned(), text, count: 1 }),
        }
    }

    /// A match of this patient.
    pub fn met(&mut self, owner: &str) {
        match &self.owner {
            Some(known) => self.owners |= known != owner,
            None => self.owner = Some(owner.to_owned()),
        }
    }

    /// What the server says the search finds. Some say on each page how many are on it.
    #[must_use]
    pub fn announced(&self) -> Option<i64> {
        self.total.filter(|_| self.pages <= 1 || self.total_is_of_all)
    }

    /// The lines that there should be, where the server said so. What came twice took the place of something else.
    #[must_use]
    pub fn expected(&self) -> Option<i64> {
        self.announced().map(|total| total + self.included + self.repeated)
    }

    /// Something changed while the pages were read: another reading may find what this one missed.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        let changed = self.announced().is_some() && self.first_total != self.total;
        changed || self.repeated > 0 || self.announced().is_some_and(|total| total != self.matches - self.repeated)
    }
}

/// The types of the Patient compartment (FHIR R4, "CompartmentDefinition: patient"), sorted.
pub const PATIENT_COMPARTMENT: &[&str] = &[
    "Account",
    "AdverseEvent",
    "AllergyIntolerance",
    "Appointment",
    "AppointmentResponse",
    "AuditEvent",
    "Basic",
    "BodyStructure",
    "CarePlan",
    "CareTeam",
    "ChargeItem",
    "Claim",
    "ClaimResponse",
    "ClinicalImpression",
    "Communication",
    "CommunicationRequest",
    "Composition",
    "Condition",
    "Consent",
    "Coverage",
    "CoverageEligibilityRequest",
    "CoverageEligibilityResponse",
    "DetectedIssue",
    "DeviceRequest",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentManifest",
    "DocumentReference",
    "Encounter",
    "EnrollmentRequest",
    "EpisodeOfCare",
    "ExplanationOfBenefit",
    "FamilyMemberHistory",
    "Flag",
    "Goal",
    "Group",
    "ImagingStudy",
    "Immunization",
    "ImmunizationEvaluation",
    "ImmunizationRecommendation",
    "Invoice",
    "List",
    "MeasureReport",
    "Media",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "MolecularSequence",
    "NutritionOrder",
    "Observation",
    "Patient",
    "Person",
    "Procedure",
    "Provenance",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RequestGroup",
    "ResearchSubject",
    "RiskAssessment",
    "Schedule",
    "ServiceRequest",
    "Specimen",
    "SupplyDelivery",
    "SupplyRequest",
    "VisionPrescription",
];

/// Types outside the compartment that exports of a Group often hold too.
pub const BESIDE_PATIENTS: &[&str] = &["Device", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"];

#[cfg(test)]
mod tests {
    use super::*;

    fn search(by: &str, ids: &[&str]) -> Search {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Search { resource_type: "Observation".to_owned(), patients: Some(Patients { by: by.to_owned(), ids }), query: Vec::new() }
    }

    #[test]
    fn patients_are_named_as_the_parameter_wants_them() {
        let value = |by, ids: &[&str]| search(by, ids).parameters()[0].1.clone();
        assert_eq!(value("patient", &["a", "b"]), "a,b");
        assert_eq!(value("_id", &["a"]), "a");
        assert_eq!(value("subject", &["a", "b"]), "Patient/a,Patient/b");
        assert_eq!(value("patient", &["a,b|c$d\\e"]), r"a\,b\|c\$d\\e", "one patient stays one");
    }

    #[test]
    fn patients_are_redacted_however_they_are_quoted() {
        let search = search("patient", &["a-1", "b2", "9"]);
        for (words, shown) in [
            ("Patient/a-1. is not known", "Patient/… is not known"),
            ("patient=a-1%2Cb2%2c9&x=%20b2", "patient=…%2C…%2c…&x=%20…"),
            ("subject=Patient%2Fb2", "subject=Patient%2F…"),
            ("a-12 and 99 % are others", "a-12 and 99 % are others"),
            ("50%", "50%"),
        ] {
            assert_eq!(search.redacted(words), shown);
        }
    }

    #[test]
    fn halving_ends_with_single_patients_and_loses_nobody() {
        let whole = search("patient", &["a", "b", "c", "d", "e"]);
        assert_eq!(whole.in_pieces(1).map(|pieces| pieces.len()), Some(5));
        let (mut open, mut single) = (vec![whole], Vec::new());
        while let Some(search) = open.pop() {
            match search.half().and_then(|half| search.in_pieces(half)) {
                Some(halves) => {
                    assert_eq!(halves.len(), 2);
                    open.extend(halves.into_iter().rev());
                }
                None => single.extend(search.patients.unwrap().ids),
            }
        }
        assert_eq!(single, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn what_a_server_says_again_is_counted_and_too_many_sentences_are_counted_together() {
        let mut seen = Seen::default();
        for n in 0..50 {
            seen.said("warning", format!("sentence {}", n % 30));
        }
        assert_eq!(seen.outcomes.len(), Seen::SENTENCES + 1);
        assert_eq!(seen.outcomes.iter().map(|said| said.count).sum::<i64>(), 50);
    }

    #[test]
    fn the_compartment_can_be_searched() {
        assert!(PATIENT_COMPARTMENT.is_sorted());
        assert_eq!(PATIENT_COMPARTMENT.len(), 66);
        assert!(PATIENT_COMPARTMENT.iter().chain(BESIDE_PATIENTS).all(|kind| crate::domain::resource::table_of(kind) != "other_resources"));
    }

    #[test]
    fn a_cursor_of_another_version_is_read() {
        assert_eq!(serde_json::from_str::<Cursor>("{}").unwrap(), Cursor::default());
    }
}
