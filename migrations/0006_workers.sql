-- One lease per worker process. A worker whose row has ended has lost all its work.
CREATE TABLE bulkhead.workers (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    version     text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL,
    draining    boolean NOT NULL DEFAULT false,
    ended_at    timestamptz
) WITH (fillfactor = 50);
CREATE INDEX workers_alive ON bulkhead.workers (id) WHERE ended_at IS NULL;
