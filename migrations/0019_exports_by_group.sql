-- The list of one Group's exports is a page of an index, however many exports other Groups have.
CREATE INDEX exports_by_group ON bulkhead.exports (group_id, created_at DESC, id DESC) WHERE group_id IS NOT NULL;
