-- A part of a file, cut on line borders: one blob, one load, one transaction.
CREATE TABLE bulkhead.file_parts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_id   uuid NOT NULL REFERENCES bulkhead.exports ON DELETE CASCADE,
    file_id     bigint NOT NULL REFERENCES bulkhead.export_files ON DELETE CASCADE,
    n           int NOT NULL,
    blob_key    text NOT NULL,
    byte_start  bigint NOT NULL,
    byte_len    bigint NOT NULL,
    -- Lines before it and in it as an editor counts them; `lines` counts resources only, not empty lines.
    first_line  bigint NOT NULL,
    physical_lines bigint NOT NULL,
    lines       bigint NOT NULL,
    sha256      bytea NOT NULL,
    state       text NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'loaded', 'lost')),
    -- Rows of this part may be in a FHIR table: a load deletes them first.
    ever_loaded boolean NOT NULL DEFAULT false,
    rows        bigint,
    duplicates  bigint,
    rejects     bigint,
    -- Of an error file: what the server's OperationOutcomes say, by severity.
    outcomes    jsonb,
    loaded_at   timestamptz,
    CHECK ((state = 'loaded') = (loaded_at IS NOT NULL)),
    CHECK (state <> 'loaded' OR lines = rows + duplicates + rejects),
    UNIQUE (file_id, n)
);
CREATE INDEX file_parts_export ON bulkhead.file_parts (export_id);
