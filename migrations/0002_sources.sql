-- A FHIR server as one client sees it: base URL, client and key. Found again by these three.
CREATE TABLE bulkhead.sources (
    id             uuid PRIMARY KEY,
    -- SHA-256 over base URL, kind of auth, client and key: a client_id may hold a whole JWKS, longer than an index takes.
    identity       bytea NOT NULL UNIQUE,
    base_url       text NOT NULL,
    auth           text NOT NULL CHECK (auth IN ('open', 'bearer', 'smart')),
    client_id      text NOT NULL DEFAULT '',
    -- SHA-256 of the key (RFC 7638) or of the bearer token: tells two credentials apart, reveals none.
    thumbprint     text NOT NULL DEFAULT '',
    token_url      text,
    algorithm      text,
    jwks_url       text,
    scope          text,
    -- The private key or the bearer token, AES-256-GCM; bound to this row and column.
    secret         bytea,
    secret_key_id  text,
    -- After a crash between the server's 202 and our commit: ask again, or wait for a person.
    kick_off_policy text NOT NULL DEFAULT 'resend' CHECK (kick_off_policy IN ('resend', 'hold')),
    max_parallel   int NOT NULL DEFAULT 6 CHECK (max_parallel BETWEEN 1 AND 100),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((secret IS NULL) = (auth = 'open')),
    CHECK ((secret IS NULL) = (secret_key_id IS NULL)),
    CHECK (auth <> 'smart' OR (token_url IS NOT NULL AND client_id <> ''))
);
