-- What one patient has, in whatever table, is found without reading the others'. Of a few bytes a row: patients repeat.
DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'fhir'::regnamespace AND c.relkind = 'r' AND c.relname <> 'patients' LOOP
        EXECUTE format('CREATE INDEX ON fhir.%I (etl_job_id, patient_id COLLATE "C") WHERE patient_id IS NOT NULL', t);
    END LOOP;
END $$;
