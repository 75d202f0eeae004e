-- The same done to many exports. For operators in psql, and the web pages call the same:
--   SELECT * FROM bulkhead.act_on('cancel', ARRAY(SELECT id FROM bulkhead.exports WHERE state = 'queued'));
-- A row for each export in the order given, and `refusal` says why it was left as it was: `gone` (there is none, or it is being deleted),
-- `state` (its state does not allow it), `same_runs` (another that asks the same runs: `other`), `busy` (somebody is changing it at this
-- moment). A call is one transaction.
CREATE FUNCTION bulkhead.act_on(act text, jobs uuid[])
RETURNS TABLE (etl_job_id uuid, server text, level text, "group" text, state text, refusal text, other uuid, why text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found_one record;
    allowed boolean;
BEGIN
    IF act_on.act IS NULL OR act_on.act NOT IN ('retry', 'cancel', 'accept', 'delete') THEN
        RAISE EXCEPTION 'act must be retry, cancel, accept or delete' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF cardinality(act_on.jobs) > 1000 THEN
        RAISE EXCEPTION 'give at most 1000 exports: a call is one transaction; call again for the rest' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH etl_job_id IN ARRAY act_on.jobs LOOP
        server := NULL; level := NULL; "group" := NULL; state := NULL; refusal := NULL; other := NULL; why := NULL;
        SELECT s.base_url, e.level, e.group_id, e.same_as INTO found_one
          FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
         WHERE e.id = act_on.etl_job_id AND e.purpose = 'export' AND e.delete_requested_at IS NULL;
        IF NOT FOUND THEN
            refusal := 'gone';
            why := 'there is no such export, or it is being deleted';
            RETURN NEXT;
            CONTINUE;
        END IF;
        server := found_one.base_url;
        level := found_one.level;
        "group" := found_one.group_id;
        IF act_on.act = 'retry' THEN
            -- The question's own lock, as a kick-off takes it: two that ask the same see each other.
            PERFORM pg_advisory_xact_lock(hashtextextended(encode(found_one.same_as, 'hex'), 1));
        END IF;
        -- Nobody is waited for: who holds it is changing it.
        SELECT e.state INTO state FROM bulkhead.exports e WHERE e.id = act_on.etl_job_id AND e.delete_requested_at IS NULL FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            refusal := 'busy';
            why := 'somebody else is changing it at this moment';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF act_on.act = 'retry' THEN
            other := (SELECT e.id FROM bulkhead.exports e
                       WHERE e.same_as = found_one.same_as AND e.id <> act_on.etl_job_id AND e.state NOT IN ('completed', 'failed', 'cancelled') LIMIT 1);
        END IF;
        IF other IS NOT NULL THEN
            refusal := 'same_runs';
            why := format('export %s asks the same and is running', other);
            RETURN NEXT;
            CONTINUE;
        END IF;
        BEGIN
            CASE act_on.act
                WHEN 'retry' THEN PERFORM bulkhead.retry_export(act_on.etl_job_id);
                WHEN 'accept' THEN
                    -- One that is completed has no gaps to accept.
                    IF state = 'completed' THEN
                        RAISE EXCEPTION 'export % is completed already', act_on.etl_job_id USING ERRCODE = 'object_not_in_prerequisite_state';
                    END IF;
                    PERFORM bulkhead.accept_export(act_on.etl_job_id);
                WHEN 'cancel' THEN
                    IF state = 'cancelled' THEN
                        RAISE EXCEPTION 'export % is cancelled already', act_on.etl_job_id USING ERRCODE = 'object_not_in_prerequisite_state';
                    END IF;
                    PERFORM bulkhead.cancel_export(act_on.etl_job_id);
                ELSE PERFORM bulkhead.delete_export(act_on.etl_job_id);
            END CASE;
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            refusal := 'state';
            why := SQLERRM;
        END;
        RETURN NEXT;
    END LOOP;
END $$;

-- As in 0028; what is done to each is act_on's.
CREATE OR REPLACE FUNCTION bulkhead.retry_failed(
    group_id   text        DEFAULT NULL,
    -- The server's FHIR base URL.
    source     text        DEFAULT NULL,
    -- The class of the failure, as in failed_groups.
    reason     text        DEFAULT NULL,
    -- When it failed.
    since      timestamptz DEFAULT NULL,
    until      timestamptz DEFAULT NULL,
    -- Without any filter it must be said that all are meant.
    everything boolean     DEFAULT false,
    dry_run    boolean     DEFAULT false,
    most       int         DEFAULT 500,
    -- With until: goes on after the export of that time and id.
    below      uuid        DEFAULT NULL)
RETURNS TABLE (etl_job_id uuid, server text, "group" text, failure text, failed_at timestamptz, outcome text, why text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found_one record;
BEGIN
    IF coalesce(retry_failed.most, 0) < 1 THEN
        RAISE EXCEPTION 'most must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF retry_failed.since > retry_failed.until THEN
        RAISE EXCEPTION 'since is later than until: nothing fails between them' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF num_nonnulls(retry_failed.group_id, retry_failed.source, retry_failed.reason, retry_failed.since, retry_failed.until) = 0
       AND NOT coalesce(retry_failed.everything, false) THEN
        RAISE EXCEPTION 'no filter is given; give group_id, source, reason, since or until, or everything => true'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT coalesce(retry_failed.dry_run, false) AND retry_failed.most > 1000 THEN
        RAISE EXCEPTION 'most must be at most 1000: a call is one transaction; call again for the rest' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF retry_failed.dry_run THEN
        RETURN QUERY
            SELECT f.etl_job_id, f.server, f."group", f.failure, f.failed_at, CASE WHEN f.why IS NULL THEN 'would be retried' ELSE 'not retried' END, f.why
              FROM (SELECT m.*, CASE WHEN live.id IS NOT NULL THEN format('export %s asks the same and is running', live.id)
                                     WHEN lag(m.etl_job_id) OVER same IS NOT NULL
                                     THEN format('export %s asks the same and failed later', first_value(m.etl_job_id) OVER same) END AS why
                      FROM bulkhead.failed_exports(retry_failed.group_id, retry_failed.source, retry_failed.reason, retry_failed.since,
                                                   retry_failed.until, retry_failed.below, retry_failed.most) m
                      LEFT JOIN LATERAL (SELECT e.id FROM bulkhead.exports e
                                          WHERE e.same_as = m.same_as AND e.state NOT IN ('completed', 'failed', 'cancelled') LIMIT 1) live ON true
                    WINDOW same AS (PARTITION BY m.same_as ORDER BY m.failed_at DESC, m.etl_job_id DESC)) f
             ORDER BY f.failed_at DESC, f.etl_job_id DESC;
        RETURN;
    END IF;
    FOR found_one IN
        SELECT f.* FROM bulkhead.failed_exports(retry_failed.group_id, retry_failed.source, retry_failed.reason, retry_failed.since,
                                                retry_failed.until, retry_failed.below, retry_failed.most) f
    LOOP
        etl_job_id := found_one.etl_job_id;
        server := found_one.server;
        "group" := found_one."group";
        failure := found_one.failure;
        failed_at := found_one.failed_at;
        why := (SELECT a.why FROM bulkhead.act_on('retry', ARRAY[found_one.etl_job_id]) a);
        outcome := CASE WHEN why IS NULL THEN 'retried' ELSE 'not retried' END;
        RETURN NEXT;
    END LOOP;
END $$;
