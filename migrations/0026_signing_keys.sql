-- Our own keys. The public halves are published at /.well-known/jwks.json until they are retired.
CREATE TABLE bulkhead.signing_keys (
    -- The thumbprint (RFC 7638).
    kid           text PRIMARY KEY,
    algorithm     text NOT NULL,
    public_jwk    jsonb NOT NULL CHECK (NOT public_jwk ? 'd'),
    -- The private half, AES-256-GCM; bound to this row and column.
    private_key   bytea NOT NULL,
    secret_key_id text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at    timestamptz
);
