-- People who may log in.
CREATE TABLE bulkhead.users (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name                text NOT NULL CHECK (name = btrim(name) AND length(name) BETWEEN 1 AND 64),
    role                text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    -- argon2id with its salt and its cost, as a PHC string.
    password_hash       text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    password_changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_login_at       timestamptz,
    disabled_at         timestamptz
);
-- "Ann" and "ann" are one person.
CREATE UNIQUE INDEX users_name ON bulkhead.users (lower(name));

-- Where there was an admin there stays one: nobody locks everybody out, also when two admins disable each other at once.
CREATE FUNCTION bulkhead.keep_an_admin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('bulkhead.keep_an_admin', 0));
    IF NOT EXISTS (SELECT FROM bulkhead.users WHERE role = 'admin' AND disabled_at IS NULL) THEN
        RAISE EXCEPTION '% is the last admin', OLD.name USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER users_keep_an_admin AFTER UPDATE OF role, disabled_at ON bulkhead.users FOR EACH ROW
    WHEN (OLD.role = 'admin' AND OLD.disabled_at IS NULL AND (NEW.role <> 'admin' OR NEW.disabled_at IS NOT NULL))
    EXECUTE FUNCTION bulkhead.keep_an_admin();
CREATE TRIGGER users_keep_an_admin_deleted AFTER DELETE ON bulkhead.users FOR EACH ROW
    WHEN (OLD.role = 'admin' AND OLD.disabled_at IS NULL)
    EXECUTE FUNCTION bulkhead.keep_an_admin();
