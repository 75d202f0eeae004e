-- One entry of an export's manifest.
CREATE TABLE bulkhead.export_files (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    export_id        uuid NOT NULL REFERENCES bulkhead.exports ON DELETE CASCADE,
    n                int NOT NULL,
    url              text NOT NULL,
    -- The URL without its signature: the same file when the manifest is fetched again.
    url_key          text NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('output', 'deleted', 'error')),
    resource_type    text,
    expected_count   bigint,
    -- What the manifest said; where it said nothing the token goes to the source's own origin only.
    requires_token   boolean,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'downloaded', 'failed')),
    bytes            bigint NOT NULL DEFAULT 0,
    lines            bigint NOT NULL DEFAULT 0,
    parts            int,
    error            text,
    -- A strong ETag of an uncompressed first answer: only then a broken body resumes by Range.
    etag             text,
    CHECK (state <> 'downloaded' OR parts IS NOT NULL),
    UNIQUE (export_id, url_key)
);
CREATE INDEX export_files_pending ON bulkhead.export_files (export_id) WHERE state = 'pending';
