-- What the pages of the queue and of the sources show and change.

-- How much a worker runs at once, by lane; NULL: a worker of a version before.
ALTER TABLE bulkhead.workers
    ADD COLUMN control_slots  int,
    ADD COLUMN transfer_slots int,
    ADD COLUMN load_slots     int,
    -- A person asked it to claim nothing more; it stays, and may be asked to go on. Its `draining` is true as long.
    ADD COLUMN drain_asked_at timestamptz;
CREATE INDEX workers_ended ON bulkhead.workers (ended_at) WHERE ended_at IS NOT NULL;

ALTER TABLE bulkhead.audit_log DROP CONSTRAINT audit_log_object_kind_check;
ALTER TABLE bulkhead.audit_log ADD CONSTRAINT audit_log_object_kind_check
    CHECK (object_kind IN ('export', 'resource', 'user', 'token', 'session', 'page', 'source', 'worker')) NOT VALID;
