-- The list of one Group's exports, and of what failed for one reason, is a page of an index, however many others there are.
CREATE INDEX exports_by_group ON bulkhead.exports (group_id, created_at DESC, id DESC) WHERE group_id IS NOT NULL;
CREATE INDEX exports_by_reason ON bulkhead.exports (failure_reason, created_at DESC, id DESC) WHERE failure_reason IS NOT NULL;
