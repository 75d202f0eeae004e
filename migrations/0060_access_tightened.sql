-- Passwords are limited for a name from an address too: then the limit for a name from wherever can be wide enough that no single machine
-- keeps somebody out by trying wrong passwords.
ALTER TABLE bulkhead.login_limits DROP CONSTRAINT login_limits_kind_check,
    ADD CONSTRAINT login_limits_kind_check CHECK (kind IN ('name', 'address', 'both'));

-- Also while a replica or a restore applies rows (session_replication_role): the log is append only for everybody.
ALTER TABLE bulkhead.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;
