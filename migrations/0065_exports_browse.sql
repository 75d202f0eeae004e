-- The web pages' list of exports: counts by state, one server's exports, and what ended lately are pages of an index.
CREATE INDEX exports_by_state ON bulkhead.exports (state, created_at DESC, id DESC)
    WHERE delete_requested_at IS NULL AND purpose = 'export';
CREATE INDEX exports_by_source ON bulkhead.exports (source_id, created_at DESC, id DESC)
    WHERE delete_requested_at IS NULL AND purpose = 'export';
CREATE INDEX exports_by_end ON bulkhead.exports (state, finished_at DESC)
    WHERE finished_at IS NOT NULL AND delete_requested_at IS NULL AND purpose = 'export';
