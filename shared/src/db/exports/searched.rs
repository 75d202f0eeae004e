//! Exports that go on by search.

use sqlx::PgConnection;
use uuid::Uuid;

/// There is no bulk export to be had: it goes on by search. `false`: it does already.
pub async fn set_searched(db: &mut PgConnection, id: Uuid) -> sqlx::Result<bool> {
    // What no bulk export was asked for was not left out of one.
    let done = sqlx::query!(
        "UPDATE bulkhead.exports
            SET route = 'search', kick_off_intent_at = NULL, dropped = CASE WHEN manifest_pages > 0 THEN dropped ELSE '{}' END,
                early_findings = CASE WHEN manifest_pages > 0 THEN early_findings
                                      ELSE jsonb_path_query_array(early_findings, '$[*] ? (@.kind != \"parameter_dropped\")') END
          WHERE id = $1 AND route <> 'search' AND NOT manifest_complete",
        id
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Its searches are known: they are its manifest. `false`: they were already. An export that failed meanwhile has them when it is retried.
pub async fn step_to_searches(db: &mut PgConnection, id: Uuid, transaction_time: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.exports
            SET manifest_pages = manifest_pages + 1, next_manifest_url = NULL, manifest_complete = true,
                transaction_time = coalesce(transaction_time, $2),
                state = CASE WHEN state = 'failed' THEN state ELSE 'downloading' END,
                failed_from = CASE WHEN state = 'failed' THEN 'downloading' END
          WHERE id = $1 AND route = 'search' AND NOT manifest_complete
            AND state IN ('kicking_off', 'in_progress', 'downloading', 'loading', 'failed')",
        id,
        transaction_time
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Everything is searched for a patient at a time from now on: what a server makes of a list is of no interest any more.
pub async fn forget_lists(db: &mut PgConnection, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.exports SET early_findings = jsonb_path_query_array(early_findings, '$[*] ? (@.kind != \"list_not_applied\")')
          WHERE id = $1",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}
