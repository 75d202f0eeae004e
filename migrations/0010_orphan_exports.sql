-- A status URL that came too late: its stage had been taken over. DELETEd at its server if no export has it.
CREATE TABLE bulkhead.orphan_exports (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id   uuid NOT NULL REFERENCES bulkhead.sources,
    export_id   uuid REFERENCES bulkhead.exports ON DELETE SET NULL,
    status_url  text NOT NULL,
    found_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts    int NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '5 minutes',
    released_at timestamptz,
    UNIQUE (source_id, status_url)
);
