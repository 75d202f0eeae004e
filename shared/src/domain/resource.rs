//! FHIR R4's resource types and the tables they live in.

/// Every resource type of FHIR R4 with its table in schema `fhir`: snake_case, plural.
/// `migrations/0012_fhir.sql` creates the same tables; a test compares them.
pub const R4_TYPES: &[(&str, &str)] = &[
    ("Account", "accounts"),
    ("ActivityDefinition", "activity_definitions"),
    ("AdverseEvent", "adverse_events"),
    ("AllergyIntolerance", "allergy_intolerances"),
    ("Appointment", "appointments"),
    ("AppointmentResponse", "appointment_responses"),
    ("AuditEvent", "audit_events"),
    ("Basic", "basics"),
    ("Binary", "binaries"),
    ("BiologicallyDerivedProduct", "biologically_derived_products"),
    ("BodyStructure", "body_structures"),
    ("Bundle", "bundles"),
    ("CapabilityStatement", "capability_statements"),
    ("CarePlan", "care_plans"),
    ("CareTeam", "care_teams"),
    ("CatalogEntry", "catalog_entries"),
    ("ChargeItem", "charge_items"),
    ("ChargeItemDefinition", "charge_item_definitions"),
    ("Claim", "claims"),
    ("ClaimResponse", "claim_responses"),
    ("ClinicalImpression", "clinical_impressions"),
    ("CodeSystem", "code_systems"),
    ("Communication", "communications"),
    ("CommunicationRequest", "communication_requests"),
    ("CompartmentDefinition", "compartment_definitions"),
    ("Composition", "compositions"),
    ("ConceptMap", "concept_maps"),
    ("Condition", "conditions"),
    ("Consent", "consents"),
    ("Contract", "contracts"),
    ("Coverage", "coverages"),
    ("CoverageEligibilityRequest", "coverage_eligibility_requests"),
    ("CoverageEligibilityResponse", "coverage_eligibility_responses"),
    ("DetectedIssue", "detected_issues"),
    ("Device", "devices"),
    ("DeviceDefinition", "device_definitions"),
    ("DeviceMetric", "device_metrics"),
    ("DeviceRequest", "device_requests"),
    ("DeviceUseStatement", "device_use_statements"),
    ("DiagnosticReport", "diagnostic_reports"),
    ("DocumentManifest", "document_manifests"),
    ("DocumentReference", "document_references"),
    ("EffectEvidenceSynthesis", "effect_evidence_syntheses"),
    ("Encounter", "encounters"),
    ("Endpoint", "endpoints"),
    ("EnrollmentRequest", "enrollment_requests"),
    ("EnrollmentResponse", "enrollment_responses"),
    ("EpisodeOfCare", "episode_of_cares"),
    ("EventDefinition", "event_definitions"),
    ("Evidence", "evidences"),
    ("EvidenceVariable", "evidence_variables"),
    ("ExampleScenario", "example_scenarios"),
    ("ExplanationOfBenefit", "explanation_of_benefits"),
    ("FamilyMemberHistory", "family_member_histories"),
    ("Flag", "flags"),
    ("Goal", "goals"),
    ("GraphDefinition", "graph_definitions"),
    ("Group", "groups"),
    ("GuidanceResponse", "guidance_responses"),
    ("HealthcareService", "healthcare_services"),
    ("ImagingStudy", "imaging_studies"),
    ("Immunization", "immunizations"),
    ("ImmunizationEvaluation", "immunization_evaluations"),
    ("ImmunizationRecommendation", "immunization_recommendations"),
    ("ImplementationGuide", "implementation_guides"),
    ("InsurancePlan", "insurance_plans"),
    ("Invoice", "invoices"),
    ("Library", "libraries"),
    ("Linkage", "linkages"),
    ("List", "lists"),
    ("Location", "locations"),
    ("Measure", "measures"),
    ("MeasureReport", "measure_reports"),
    ("Media", "media"),
    ("Medication", "medications"),
    ("MedicationAdministration", "medication_administrations"),
    ("MedicationDispense", "medication_dispenses"),
    ("MedicationKnowledge", "medication_knowledges"),
    ("MedicationRequest", "medication_requests"),
    ("MedicationStatement", "medication_statements"),
    ("MedicinalProduct", "medicinal_products"),
    ("MedicinalProductAuthorization", "medicinal_product_authorizations"),
    ("MedicinalProductContraindication", "medicinal_product_contraindications"),
    ("MedicinalProductIndication", "medicinal_product_indications"),
    ("MedicinalProductIngredient", "medicinal_product_ingredients"),
    ("MedicinalProductInteraction", "medicinal_product_interactions"),
    ("MedicinalProductManufactured", "medicinal_product_manufactureds"),
    ("MedicinalProductPackaged", "medicinal_product_packageds"),
    ("MedicinalProductPharmaceutical", "medicinal_product_pharmaceuticals"),
    ("MedicinalProductUndesirableEffect", "medicinal_product_undesirable_effects"),
    ("MessageDefinition", "message_definitions"),
    ("MessageHeader", "message_headers"),
    ("MolecularSequence", "molecular_sequences"),
    ("NamingSystem", "naming_systems"),
    ("NutritionOrder", "nutrition_orders"),
    ("Observation", "observations"),
    ("ObservationDefinition", "observation_definitions"),
    ("OperationDefinition", "operation_definitions"),
    ("OperationOutcome", "operation_outcomes"),
    ("Organization", "organizations"),
    ("OrganizationAffiliation", "organization_affiliations"),
    ("Parameters", "parameters"),
    ("Patient", "patients"),
    ("PaymentNotice", "payment_notices"),
    ("PaymentReconciliation", "payment_reconciliations"),
    ("Person", "persons"),
    ("PlanDefinition", "plan_definitions"),
    ("Practitioner", "practitioners"),
    ("PractitionerRole", "practitioner_roles"),
    ("Procedure", "procedures"),
    ("Provenance", "provenances"),
    ("Questionnaire", "questionnaires"),
    ("QuestionnaireResponse", "questionnaire_responses"),
    ("RelatedPerson", "related_persons"),
    ("RequestGroup", "request_groups"),
    ("ResearchDefinition", "research_definitions"),
    ("ResearchElementDefinition", "research_element_definitions"),
    ("ResearchStudy", "research_studies"),
    ("ResearchSubject", "research_subjects"),
    ("RiskAssessment", "risk_assessments"),
    ("RiskEvidenceSynthesis", "risk_evidence_syntheses"),
    ("Schedule", "schedules"),
    ("SearchParameter", "search_parameters"),
    ("ServiceRequest", "service_requests"),
    ("Slot", "slots"),
    ("Specimen", "specimens"),
    ("SpecimenDefinition", "specimen_definitions"),
    ("StructureDefinition", "structure_definitions"),
    ("StructureMap", "structure_maps"),
    ("Subscription", "subscriptions"),
    ("Substance", "substances"),
    ("SubstanceNucleicAcid", "substance_nucleic_acids"),
    ("SubstancePolymer", "substance_polymers"),
    ("SubstanceProtein", "substance_proteins"),
    ("SubstanceReferenceInformation", "substance_reference_informations"),
    ("SubstanceSourceMaterial", "substance_source_materials"),
    ("SubstanceSpecification", "substance_specifications"),
    ("SupplyDelivery", "supply_deliveries"),
    ("SupplyRequest", "supply_requests"),
    ("Task", "tasks"),
    ("TerminologyCapabilities", "terminology_capabilities"),
    ("TestReport", "test_reports"),
    ("TestScript", "test_scripts"),
    ("ValueSet", "value_sets"),
    ("VerificationResult", "verification_results"),
    ("VisionPrescription", "vision_prescriptions"),
];

/// The table (without its schema) of a type; a type unknown to R4 shares `other_resources`.
#[must_use]
pub fn table_of(resource_type: &str) -> &'static str {
    R4_TYPES.binary_search_by(|(known, _)| known.cmp(&resource_type)).map_or("other_resources", |at| R4_TYPES[at].1)
}

/// Whether it could be a resource type at all: a letter, then letters (FHIR, "Resource types").
#[must_use]
pub fn is_type_name(word: &str) -> bool {
    word.len() <= 64 && word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Conformance, definitions and messages: no server exports them, although many list them among what they have.
const NOT_DATA: &[&str] = &[
    "Bundle",
    "CapabilityStatement",
    "CodeSystem",
    "CompartmentDefinition",
    "ConceptMap",
    "GraphDefinition",
    "ImplementationGuide",
    "MessageDefinition",
    "MessageHeader",
    "NamingSystem",
    "OperationDefinition",
    "OperationOutcome",
    "Parameters",
    "SearchParameter",
    "StructureDefinition",
    "StructureMap",
    "Subscription",
    "TerminologyCapabilities",
    "TestReport",
    "TestScript",
    "ValueSet",
];

/// Whether a server that says it has resources of a type may be asked to export them.
#[must_use]
pub fn may_be_exported(resource_type: &str) -> bool {
    is_type_name(resource_type) && !NOT_DATA.contains(&resource_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(R4_TYPES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn types_have_the_guides_table_names() {
        for (kind, table) in [
            ("Patient", "patients"),
            ("Condition", "conditions"),
            ("MedicationRequest", "medication_requests"),
            ("AllergyIntolerance", "allergy_intolerances"),
            ("SomethingNew", "other_resources"),
        ] {
            assert_eq!(table_of(kind), table);
        }
    }

    #[test]
    fn a_type_name_is_letters() {
        assert!(is_type_name("Patient"));
        assert!(!is_type_name("patient"));
        assert!(!is_type_name("Patient?x=1"));
        assert!(!is_type_name(""));
    }
}
