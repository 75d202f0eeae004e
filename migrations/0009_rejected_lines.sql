-- A line that could not become a row. Nothing is dropped: here it is, with its place in its file (uncompressed).
CREATE TABLE bulkhead.rejected_lines (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_id  uuid NOT NULL REFERENCES bulkhead.exports ON DELETE CASCADE,
    part_id    bigint NOT NULL REFERENCES bulkhead.file_parts ON DELETE CASCADE,
    line       bigint NOT NULL,
    byte_start bigint NOT NULL,
    reason     text NOT NULL,
    bytes      bytea NOT NULL,
    UNIQUE (part_id, line)
);
CREATE INDEX rejected_lines_export ON bulkhead.rejected_lines (export_id);
