-- One access token per source, minted once for all workers under a lease in this row.
CREATE TABLE bulkhead.access_tokens (
    source_id     uuid PRIMARY KEY REFERENCES bulkhead.sources ON DELETE CASCADE,
    -- A 401 invalidates the version it was seen with, never a newer one.
    version       bigint NOT NULL DEFAULT 0,
    token         bytea,
    secret_key_id text,
    scope         text,
    expires_at    timestamptz,
    minter        uuid,
    minting_until timestamptz,
    CHECK ((token IS NULL) = (expires_at IS NULL)),
    CHECK ((token IS NULL) = (secret_key_id IS NULL)),
    CHECK ((minter IS NULL) = (minting_until IS NULL))
);
