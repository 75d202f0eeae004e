-- Who did and saw what. Append only. Nothing of a patient is in it but the types and ids of resources that were looked at, and whose they are.
CREATE TABLE bulkhead.audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_kind  text NOT NULL CHECK (actor_kind IN ('user', 'token', 'open', 'command_line', 'nobody')),
    -- The user's or the token's; no reference: what somebody did stays when they are gone.
    actor_id    uuid,
    -- As it was called then.
    actor       text NOT NULL,
    address     text,
    act         text NOT NULL,
    object_kind text CHECK (object_kind IN ('export', 'resource', 'user', 'token', 'session', 'page')),
    object      text,
    detail      jsonb NOT NULL DEFAULT '{}',
    CHECK ((object_kind IS NULL) = (object IS NULL))
);
CREATE INDEX audit_log_act ON bulkhead.audit_log (act, id DESC);
CREATE INDEX audit_log_actor ON bulkhead.audit_log (lower(actor), id DESC);
CREATE INDEX audit_log_object ON bulkhead.audit_log (object, id DESC) WHERE object IS NOT NULL;
CREATE INDEX audit_log_at ON bulkhead.audit_log (at DESC);

CREATE FUNCTION bulkhead.append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append only: nothing in it is changed or deleted', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bulkhead.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION bulkhead.append_only();
