-- Tokens for programs (Authorization: Bearer). A token is 256 random bits and is shown once, when it is made.
CREATE TABLE bulkhead.api_tokens (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text NOT NULL CHECK (name = btrim(name) AND length(name) BETWEEN 1 AND 64),
    -- SHA-256 of the token.
    token_hash   bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    -- At most what its owner may: where that is less now, so is this.
    role         text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    -- Whose it is; NULL: the installation's own, made on the command line.
    user_id      uuid REFERENCES bulkhead.users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    -- To the minute: written once a minute at most.
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE UNIQUE INDEX api_tokens_name ON bulkhead.api_tokens (user_id, lower(name)) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX api_tokens_own_name ON bulkhead.api_tokens (lower(name)) WHERE revoked_at IS NULL AND user_id IS NULL;
