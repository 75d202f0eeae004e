-- The data: a row is one resource of one export. No foreign keys (they cost two thirds of the load rate);
-- `part_id` says which file part a row came from. The columns after last_updated are computed by the loader.
DO $$
DECLARE
    t text;
    columns text;
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'accounts', 'activity_definitions', 'adverse_events', 'allergy_intolerances', 'appointments',
        'appointment_responses', 'audit_events', 'basics', 'binaries', 'biologically_derived_products',
        'body_structures', 'bundles', 'capability_statements', 'care_plans', 'care_teams',
        'catalog_entries', 'charge_items', 'charge_item_definitions', 'claims', 'claim_responses',
        'clinical_impressions', 'code_systems', 'communications', 'communication_requests',
        'compartment_definitions', 'compositions', 'concept_maps', 'conditions', 'consents', 'contracts',
        'coverages', 'coverage_eligibility_requests', 'coverage_eligibility_responses', 'detected_issues',
        'devices', 'device_definitions', 'device_metrics', 'device_requests', 'device_use_statements',
        'diagnostic_reports', 'document_manifests', 'document_references', 'effect_evidence_syntheses',
        'encounters', 'endpoints', 'enrollment_requests', 'enrollment_responses', 'episode_of_cares',
        'event_definitions', 'evidences', 'evidence_variables', 'example_scenarios',
        'explanation_of_benefits', 'family_member_histories', 'flags', 'goals', 'graph_definitions',
        'groups', 'guidance_responses', 'healthcare_services', 'imaging_studies', 'immunizations',
        'immunization_evaluations', 'immunization_recommendations', 'implementation_guides',
        'insurance_plans', 'invoices', 'libraries', 'linkages', 'lists', 'locations', 'measures',
        'measure_reports', 'media', 'medications', 'medication_administrations', 'medication_dispenses',
        'medication_knowledges', 'medication_requests', 'medication_statements', 'medicinal_products',
        'medicinal_product_authorizations', 'medicinal_product_contraindications',
        'medicinal_product_indications', 'medicinal_product_ingredients', 'medicinal_product_interactions',
        'medicinal_product_manufactureds', 'medicinal_product_packageds',
        'medicinal_product_pharmaceuticals', 'medicinal_product_undesirable_effects', 'message_definitions',
        'message_headers', 'molecular_sequences', 'naming_systems', 'nutrition_orders', 'observations',
        'observation_definitions', 'operation_definitions', 'operation_outcomes', 'organizations',
        'organization_affiliations', 'parameters', 'patients', 'payment_notices', 'payment_reconciliations',
        'persons', 'plan_definitions', 'practitioners', 'practitioner_roles', 'procedures', 'provenances',
        'questionnaires', 'questionnaire_responses', 'related_persons', 'request_groups',
        'research_definitions', 'research_element_definitions', 'research_studies', 'research_subjects',
        'risk_assessments', 'risk_evidence_syntheses', 'schedules', 'search_parameters', 'service_requests',
        'slots', 'specimens', 'specimen_definitions', 'structure_definitions', 'structure_maps',
        'subscriptions', 'substances', 'substance_nucleic_acids', 'substance_polymers',
        'substance_proteins', 'substance_reference_informations', 'substance_source_materials',
        'substance_specifications', 'supply_deliveries', 'supply_requests', 'tasks',
        'terminology_capabilities', 'test_reports', 'test_scripts', 'value_sets', 'verification_results',
        'vision_prescriptions'
    ] LOOP
        columns := CASE t
            WHEN 'patients'            THEN ', gender text, birth_date date'
            WHEN 'conditions'          THEN ', code text, display text, onset timestamptz'
            WHEN 'observations'        THEN ', code text, display text, value double precision, unit text, effective timestamptz'
            WHEN 'encounters'          THEN ', class text, period_start timestamptz'
            WHEN 'medication_requests' THEN ', code text, display text, authored_on timestamptz'
            ELSE ''
        END;
        EXECUTE format(
            'CREATE TABLE fhir.%I (etl_job_id uuid NOT NULL, id text COLLATE "C" NOT NULL, part_id bigint NOT NULL,
             patient_id text, last_updated timestamptz' || columns || ', resource jsonb NOT NULL,
             PRIMARY KEY (etl_job_id, id))', t);
    END LOOP;

    -- A type that FHIR R4 does not know.
    CREATE TABLE fhir.other_resources (
        etl_job_id uuid NOT NULL, resource_type text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, part_id bigint NOT NULL,
        patient_id text, last_updated timestamptz, resource jsonb NOT NULL,
        PRIMARY KEY (etl_job_id, resource_type, id));
END $$;

-- lz4 makes large resources half as expensive to store. A Postgres built without it keeps pglz.
DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'fhir'::regnamespace AND c.relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE fhir.%I ALTER COLUMN resource SET COMPRESSION lz4', t);
    END LOOP;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this Postgres was built without lz4: resources are compressed with pglz';
END $$;
