-- All failed exports that match are retried, or only shown. For operators in psql, and the HTTP API calls the same:
--   SELECT * FROM bulkhead.retry_failed(reason => 'unreachable', dry_run => true);
-- A row for each export that matches, the last that failed first, and `outcome` says what became of it. A call is one transaction
-- and looks at `most` exports; retried ones match no more, so that the same call again goes on.
-- An export is not retried while another that asks the same runs: no server is asked the same twice at once. Of several that
-- failed it is the last.

-- A page of what matches. `below` with `until`: what comes after the export of that time and id.
CREATE FUNCTION bulkhead.failed_exports(group_id text, source text, reason text, since timestamptz, until timestamptz, below uuid, most int)
RETURNS TABLE (etl_job_id uuid, server text, "group" text, failure text, failed_at timestamptz, same_as bytea) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    -- Planned anew for the filters that are given: each has an index of its own.
    RETURN QUERY EXECUTE
        'SELECT e.id, s.base_url, e.group_id, e.failure_reason, e.finished_at, e.same_as
           FROM bulkhead.exports e JOIN bulkhead.sources s ON s.id = e.source_id
          WHERE e.state = ''failed'' AND e.delete_requested_at IS NULL AND e.purpose = ''export'''
        || CASE WHEN failed_exports.group_id IS NULL THEN '' ELSE ' AND e.group_id = $1' END
        || CASE WHEN failed_exports.source IS NULL THEN '' ELSE ' AND s.base_url = $2' END
        || CASE WHEN failed_exports.reason IS NULL THEN '' ELSE ' AND e.failure_reason = $3' END
        || CASE WHEN failed_exports.since IS NULL THEN '' ELSE ' AND e.finished_at >= $4' END
        || CASE WHEN failed_exports.until IS NULL THEN '' WHEN failed_exports.below IS NULL THEN ' AND e.finished_at <= $5'
                ELSE ' AND (e.finished_at, e.id) < ($5, $6)' END
        || ' ORDER BY e.finished_at DESC, e.id DESC LIMIT $7'
        USING failed_exports.group_id, rtrim(failed_exports.source, '/'), failed_exports.reason, failed_exports.since,
              failed_exports.until, failed_exports.below, failed_exports.most;
END $$;

CREATE FUNCTION bulkhead.retry_failed(
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
    other uuid;
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
        outcome := 'not retried';
        why := NULL;
        -- The question's own lock, as a kick-off takes it: two that ask the same see each other.
        PERFORM pg_advisory_xact_lock(hashtextextended(encode(found_one.same_as, 'hex'), 1));
        other := (SELECT e.id FROM bulkhead.exports e
                   WHERE e.same_as = found_one.same_as AND e.state NOT IN ('completed', 'failed', 'cancelled') LIMIT 1);
        IF other IS NOT NULL THEN
            why := format('export %s asks the same and is running', other);
        ELSE
            -- Nobody is waited for: who holds it is changing it.
            PERFORM FROM bulkhead.exports e WHERE e.id = found_one.etl_job_id FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                why := 'somebody else is changing it at this moment';
            ELSE
                BEGIN
                    PERFORM bulkhead.retry_export(found_one.etl_job_id);
                    outcome := 'retried';
                EXCEPTION WHEN object_not_in_prerequisite_state THEN
                    why := SQLERRM;
                END;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
