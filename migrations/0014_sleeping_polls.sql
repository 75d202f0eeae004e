-- A worker keeps a poll whose server said "later": the stage stays its own, and `wake_at` is when the server may be asked again. No index
-- mentions anything that falling asleep and waking up change, so that both are heap-only updates.
ALTER TABLE bulkhead.stages ADD COLUMN wake_at timestamptz;

-- Neighbours wake together, and fall asleep a moment later: a page has room for both, also while a sweep's snapshot keeps the old versions.
ALTER TABLE bulkhead.stages SET (fillfactor = 30);

-- The queue's table is small or large, and always busy: dead rows go before claims have to walk over them.
ALTER TABLE bulkhead.stages SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
                                 autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000);
