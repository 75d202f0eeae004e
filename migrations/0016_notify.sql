-- Workers of the version before may be at work: all they lock is locked first, at once, so that nothing deadlocks.
LOCK TABLE bulkhead.exports, bulkhead.stages, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events IN ACCESS EXCLUSIVE MODE;

-- Whoever waits for a change of an export is told: channel bulkhead_exports, payload its id, once a transaction (Postgres drops repeated
-- notifications). A new export notifies nobody: nobody can know its id yet, and a notification makes commits queue up.
CREATE FUNCTION bulkhead.notify_export() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bulkhead_exports', NEW.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER notify_change AFTER UPDATE ON bulkhead.exports FOR EACH ROW
    WHEN (OLD IS DISTINCT FROM NEW) EXECUTE FUNCTION bulkhead.notify_export();

CREATE FUNCTION bulkhead.notify_deleted_export() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bulkhead_exports', OLD.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER notify_deleted AFTER DELETE ON bulkhead.exports FOR EACH ROW EXECUTE FUNCTION bulkhead.notify_deleted_export();

-- A statement may write 20,000 files: one look at what it wrote, not 20,000.
CREATE FUNCTION bulkhead.notify_exports_of_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bulkhead_exports', changed.export_id::text) FROM (SELECT DISTINCT export_id FROM rows) changed;
    RETURN NULL;
END $$;
CREATE TRIGGER notify_new AFTER INSERT ON bulkhead.export_files REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION bulkhead.notify_exports_of_rows();
CREATE TRIGGER notify_change AFTER UPDATE ON bulkhead.export_files REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION bulkhead.notify_exports_of_rows();
CREATE TRIGGER notify_new AFTER INSERT ON bulkhead.file_parts REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION bulkhead.notify_exports_of_rows();
CREATE TRIGGER notify_change AFTER UPDATE ON bulkhead.file_parts REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION bulkhead.notify_exports_of_rows();

-- What the story warns of; its other sentences come with a change of the above.
CREATE FUNCTION bulkhead.notify_export_of_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bulkhead_exports', NEW.export_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER notify_warning AFTER INSERT ON bulkhead.export_events FOR EACH ROW
    WHEN (NEW.level <> 'info') EXECUTE FUNCTION bulkhead.notify_export_of_event();
