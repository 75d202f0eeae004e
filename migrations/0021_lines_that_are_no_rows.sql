-- Lines that are read and are no rows: neither lost nor refused.

-- Workers of the version before may be at work: all they lock is locked first, at once, so that nothing deadlocks.
LOCK TABLE bulkhead.sources, bulkhead.exports, bulkhead.stages, bulkhead.export_files, bulkhead.file_parts, bulkhead.export_events IN ACCESS EXCLUSIVE MODE;

ALTER TABLE bulkhead.file_parts
    -- Parameters resources that head a block of an organized file (Bulk Data IG, "organizeOutputBy").
    ADD COLUMN headers   bigint NOT NULL DEFAULT 0,
    -- Resources that were not asked for: the server did not support the parameter that says so.
    ADD COLUMN left_out  bigint NOT NULL DEFAULT 0,
    -- Rows whose resource says itself that parts of it are left out (meta.tag SUBSETTED).
    ADD COLUMN subsetted bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT file_parts_check1,
    ADD CONSTRAINT file_parts_every_line CHECK (state <> 'loaded' OR lines = rows + duplicates + rejects + headers + left_out);

-- What servers say was deleted (manifest `deleted`: Bundles of DELETE entries). Kept; not applied to anything.
CREATE TABLE bulkhead.deletions (
    export_id     uuid NOT NULL REFERENCES bulkhead.exports ON DELETE CASCADE,
    part_id       bigint NOT NULL REFERENCES bulkhead.file_parts ON DELETE CASCADE,
    resource_type text,
    resource_id   text,
    -- The entry's request.url.
    url           text NOT NULL
);
CREATE INDEX deletions_part ON bulkhead.deletions (part_id);
CREATE INDEX deletions_export ON bulkhead.deletions (export_id);
