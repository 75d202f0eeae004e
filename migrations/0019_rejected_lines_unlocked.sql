-- A load adds refused lines as it meets them, long before its last statements. The key to the export would hold a lock on the export's row
-- meanwhile, and make a cancel wait for the load. Lines go with their part, and so with their export.
ALTER TABLE bulkhead.rejected_lines DROP CONSTRAINT rejected_lines_export_id_fkey;
