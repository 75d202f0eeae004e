-- Who is logged in, a browser a row. The cookie is 256 random bits and is nowhere but in the browser; a row that is deleted is a browser
-- that is out at its next request.
CREATE TABLE bulkhead.sessions (
    -- Names it in lists; opens nothing.
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      uuid NOT NULL REFERENCES bulkhead.users ON DELETE CASCADE,
    -- SHA-256 of the cookie.
    token_hash   bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    address      text,
    user_agent   text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- To the minute: written once a minute at most.
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- However much it is used.
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sessions_user ON bulkhead.sessions (user_id);
CREATE INDEX sessions_expiry ON bulkhead.sessions (expires_at);
