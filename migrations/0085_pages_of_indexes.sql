-- At a hundred thousand exports the pages' counts are to be read from indexes alone, up to where counting ends. The dropped come first:
-- they take the table's strongest lock at once, so that nothing deadlocks with workers at work.
DROP INDEX bulkhead.exports_by_group, bulkhead.exports_by_reason, bulkhead.exports_by_source;
CREATE INDEX exports_by_group ON bulkhead.exports (group_id, created_at DESC, id DESC) INCLUDE (state)
    WHERE group_id IS NOT NULL AND delete_requested_at IS NULL AND purpose = 'export';
CREATE INDEX exports_by_reason ON bulkhead.exports (failure_reason, created_at DESC, id DESC) INCLUDE (state)
    WHERE failure_reason IS NOT NULL AND delete_requested_at IS NULL AND purpose = 'export';
CREATE INDEX exports_by_source ON bulkhead.exports (source_id, created_at DESC, id DESC) INCLUDE (state)
    WHERE delete_requested_at IS NULL AND purpose = 'export';
-- A server's last success and last failure.
CREATE INDEX exports_last_ends ON bulkhead.exports (source_id, state, finished_at DESC)
    WHERE finished_at IS NOT NULL AND delete_requested_at IS NULL AND purpose = 'export';
