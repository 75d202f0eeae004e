-- The queue that operators read. apalis delivers tickets; this row decides (ARCHITECTURE.md).
CREATE TABLE bulkhead.stages (
    id           uuid PRIMARY KEY,
    export_id    uuid NOT NULL REFERENCES bulkhead.exports ON DELETE CASCADE,
    source_id    uuid NOT NULL,
    file_id      bigint REFERENCES bulkhead.export_files ON DELETE CASCADE,
    part_id      bigint REFERENCES bulkhead.file_parts ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('auth', 'kick_off', 'poll', 'download', 'load', 'finish', 'release', 'clean_up')),
    lane         text NOT NULL CHECK (lane IN ('control', 'poll', 'transfer', 'load')),
    -- Position within its export. Lowest first, so a small export is not stuck behind a large one.
    rank         int NOT NULL DEFAULT 0,
    state        text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'running', 'done', 'dead', 'cancelled')),
    attempt      int NOT NULL DEFAULT 0,
    max_attempts int NOT NULL,
    -- Random, not counted: a restored database would issue a number twice.
    claim_id     uuid,
    worker_id    uuid,
    next_run_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ticketed_at  timestamptz,
    tickets      int NOT NULL DEFAULT 0,
    runs         int NOT NULL DEFAULT 0,
    snoozes      int NOT NULL DEFAULT 0,
    progress     text,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at   timestamptz,
    finished_at  timestamptz,
    CHECK ((kind = 'download') = (file_id IS NOT NULL AND part_id IS NULL)),
    CHECK ((kind = 'load') = (part_id IS NOT NULL)),
    CHECK ((state = 'running') = (worker_id IS NOT NULL)),
    CHECK (state <> 'running' OR claim_id IS NOT NULL)
) WITH (fillfactor = 50);

CREATE INDEX stages_ready ON bulkhead.stages (lane, rank, next_run_at) WHERE state = 'ready';
CREATE INDEX stages_due ON bulkhead.stages (lane, next_run_at) WHERE state = 'ready';
CREATE INDEX stages_running ON bulkhead.stages (worker_id) WHERE state = 'running';
CREATE INDEX stages_source_running ON bulkhead.stages (source_id, lane) WHERE state = 'running';
CREATE INDEX stages_export ON bulkhead.stages (export_id);
CREATE INDEX stages_finished ON bulkhead.stages (finished_at) WHERE state IN ('done', 'cancelled');
-- What fan-in asks: is any download or load of this export still to come?
CREATE INDEX stages_data_live ON bulkhead.stages (export_id, kind)
    WHERE kind IN ('download', 'load') AND state IN ('ready', 'running');
-- Nothing is enqueued twice. A dead stage counts: a retry makes it ready again.
CREATE UNIQUE INDEX stages_once ON bulkhead.stages (export_id, kind, coalesce(file_id, 0), coalesce(part_id, 0))
    WHERE state IN ('ready', 'running', 'dead');
