-- What one patient has, by type: found without reading the others'. Made with the summary of an export (stage `summarise`), not while rows are
-- loaded: an index on the patient in every FHIR table would slow every load down.
CREATE TABLE bulkhead.rows_of_patients (
    -- Checked at the end of the transaction, as for summary_columns.
    summary_id    uuid NOT NULL REFERENCES bulkhead.summaries ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    resource_type text COLLATE "C" NOT NULL,
    patient_id    text COLLATE "C" NOT NULL,
    -- Of the resources, in their order.
    ids           text[] COLLATE "C" NOT NULL,
    PRIMARY KEY (summary_id, resource_type, patient_id)
);
