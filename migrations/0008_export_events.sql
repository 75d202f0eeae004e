-- The story of an export, a sentence a row. Append only.
CREATE TABLE bulkhead.export_events (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_id uuid NOT NULL REFERENCES bulkhead.exports ON DELETE CASCADE,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    level     text NOT NULL DEFAULT 'info' CHECK (level IN ('info', 'warning', 'error')),
    stage     text,
    attempt   int,
    worker    text,
    message   text NOT NULL
);
CREATE INDEX export_events_export ON bulkhead.export_events (export_id, id);
