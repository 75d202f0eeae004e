-- A server that asks to slow down (429, 503) gets fewer downloads at once: half as many at each refusal, one more again
-- every ten seconds that go well. How: shared/src/db/sources.rs.
ALTER TABLE bulkhead.sources
    -- The limit while it is under max_parallel; NULL when the source is not slowed down.
    ADD COLUMN slowed_to           int CHECK (slowed_to >= 1),
    -- When it was last refused or raised.
    ADD COLUMN parallel_changed_at timestamptz NOT NULL DEFAULT '-infinity',
    -- No file is asked for before: what the server said in Retry-After.
    ADD COLUMN paused_until        timestamptz NOT NULL DEFAULT 'epoch' CHECK (isfinite(paused_until)),
    -- Downloads at once, at present. Computed, so that whoever changes max_parallel need not know of it.
    ADD COLUMN parallel            int NOT NULL GENERATED ALWAYS AS (least(max_parallel, slowed_to)) STORED;

-- How many more downloads a source may begin: none while it is left alone.
CREATE OR REPLACE FUNCTION bulkhead.free_transfers(source uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN o.paused_until > clock_timestamp() THEN 0
                ELSE o.parallel - (SELECT count(*) FROM bulkhead.stages r
                                    WHERE r.source_id = source AND r.lane = 'transfer' AND r.state = 'running') END
      FROM bulkhead.sources o WHERE o.id = source;
$$;
