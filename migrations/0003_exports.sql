-- One ETL job. An export is a row that walks forward; `id` is the `etl_job_id` of its FHIR rows.
CREATE TABLE bulkhead.exports (
    id                 uuid PRIMARY KEY,
    source_id          uuid NOT NULL REFERENCES bulkhead.sources,
    level              text NOT NULL CHECK (level IN ('system', 'patient', 'group', 'unknown')),
    group_id           text,
    resource_types     text[] NOT NULL DEFAULT '{}',
    since              text,
    parameters         jsonb NOT NULL DEFAULT '{}',
    accept_partial     boolean NOT NULL DEFAULT false,
    route              text NOT NULL DEFAULT 'bulk' CHECK (route IN ('bulk', 'search')),
    -- The same source, Group and parameters, still running: this one starts when that one ends.
    waits_for          uuid REFERENCES bulkhead.exports ON DELETE SET NULL,
    same_as            bytea NOT NULL,

    state              text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'authenticating', 'kicking_off',
                           'in_progress', 'downloading', 'loading', 'completed', 'failed', 'cancelled')),
    -- Set before the server is asked, for what cannot be asked twice.
    kick_off_intent_at timestamptz,
    status_url         text,
    next_manifest_url  text,
    manifest           jsonb,
    manifest_pages     int NOT NULL DEFAULT 0,
    manifest_complete  boolean NOT NULL DEFAULT false,
    transaction_time   text,
    expires_at         timestamptz,
    findings           jsonb NOT NULL DEFAULT '[]',
    accepted_at        timestamptz,
    released_at        timestamptz,
    cleaned_at         timestamptz,
    delete_requested_at timestamptz,
    -- How often it was started over from the kick-off: its earlier rows are wiped first.
    restarts           int NOT NULL DEFAULT 0,

    failed_from        text,
    failure_stage      text,
    failure_reason     text,
    failure_detail     text,
    failure_remedy     text,

    idempotency_key    text UNIQUE,
    request_hash       bytea,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at         timestamptz,
    finished_at        timestamptz,

    CHECK ((level = 'group') = (group_id IS NOT NULL)),
    CHECK (state <> 'in_progress' OR status_url IS NOT NULL),
    CHECK (state NOT IN ('downloading', 'loading') OR manifest_pages > 0),
    CHECK (state <> 'completed' OR manifest_complete),
    CHECK ((state = 'failed') = (failure_reason IS NOT NULL)),
    CHECK ((failure_reason IS NULL) = (failure_stage IS NULL)
       AND (failure_reason IS NULL) = (failure_remedy IS NULL)
       AND (failure_reason IS NULL) = (failed_from IS NULL)),
    CHECK ((state IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
);
CREATE INDEX exports_newest ON bulkhead.exports (created_at DESC, id DESC);
CREATE INDEX exports_failed ON bulkhead.exports (finished_at DESC) WHERE state = 'failed';
CREATE INDEX exports_live_same ON bulkhead.exports (same_as)
    WHERE state NOT IN ('completed', 'failed', 'cancelled');
CREATE INDEX exports_waiting ON bulkhead.exports (waits_for) WHERE waits_for IS NOT NULL;
-- A status URL may be longer than an index takes.
CREATE UNIQUE INDEX exports_status_url ON bulkhead.exports (source_id, md5(status_url)) WHERE status_url IS NOT NULL;
