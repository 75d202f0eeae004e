-- bulkhead: our tables. fhir: the data. The database's search_path has both, so that
-- `SELECT count(*) FROM patients` works in psql as written. Our own SQL names the schema.
CREATE SCHEMA IF NOT EXISTS bulkhead;
CREATE SCHEMA IF NOT EXISTS fhir;

DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path TO bulkhead, fhir, public', current_database());
END $$;
