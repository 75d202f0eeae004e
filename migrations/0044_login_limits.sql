-- How fast somebody may try passwords: for a name and for an address, over all replicas and restarts. Each attempt pushes `full_at`
-- further; an attempt that would push it beyond a window is refused (a leaky bucket that needs no clock of its own).
CREATE TABLE bulkhead.login_limits (
    kind    text NOT NULL CHECK (kind IN ('name', 'address')),
    -- SHA-256: people type passwords into the wrong field.
    key     bytea NOT NULL CHECK (octet_length(key) = 32),
    full_at timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX login_limits_over ON bulkhead.login_limits (full_at);
