//! Sources as people look at them: what is known of each, and how its exports went. Never a secret.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::db::exports::MOST_COUNTED;

/// A source and its exports.
#[derive(Debug)]
pub struct Overview {
    pub id: Uuid,
    pub base_url: String,
    pub auth: String,
    pub client_id: String,
    pub algorithm: Option<String>,
    /// As a person gave it, or as the server says.
    pub token_endpoint: Option<String>,
    pub jwks_url: Option<String>,
    /// The key's thumbprint.
    pub thumbprint: String,
    pub dialect: Option<String>,
    pub dialect_set: bool,
    pub kick_off_policy: String,
    pub parallel: i32,
    pub max_parallel: i32,
    /// No file is asked for before.
    pub paused_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub has_token: bool,
    pub token_expires_at: Option<DateTime<Utc>>,
    pub granted: Option<String>,
    /// At most one more than [`MOST_COUNTED`].
    pub exports: i64,
    pub live: i64,
    pub last_success: Option<DateTime<Utc>>,
    pub last_failure: Option<DateTime<Utc>>,
}

/// All of them, or one; the one with the newest export first. However many exports there are, only the beginnings of indexes are read.
pub async fn overview(db: impl PgExecutor<'_>, only: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<Overview>> {
    sqlx::query_as!(
        Overview,
        r#"SELECT s.id, s.base_url, s.auth, s.client_id, s.algorithm, coalesce(s.token_url, s.token_endpoint) AS token_endpoint, s.jwks_url,
                  s.thumbprint, s.dialect, s.dialect_set, s.kick_off_policy, s.parallel AS "parallel!", s.max_parallel,
                  CASE WHEN s.paused_until > clock_timestamp() THEN s.paused_until END AS paused_until, s.created_at,
                  (t.token IS NOT NULL AND t.expires_at > clock_timestamp()) IS TRUE AS "has_token!", t.expires_at AS "token_expires_at?",
                  t.scope AS "granted?", n.exports AS "exports!", coalesce(l.live, 0) AS "live!", succeeded.at AS "last_success?",
                  failed.at AS "last_failure?"
             FROM (SELECT s.*, coalesce(newest.at, s.created_at) AS newest FROM bulkhead.sources s
                     LEFT JOIN LATERAL (SELECT e.created_at AS at FROM bulkhead.exports e
                                         WHERE e.source_id = s.id AND e.purpose = 'export' AND e.delete_requested_at IS NULL
                                         ORDER BY e.created_at DESC, e.id DESC LIMIT 1) newest ON true
                    WHERE $1::uuid IS NULL OR s.id = $1
                    ORDER BY coalesce(newest.at, s.created_at) DESC, s.id LIMIT $2) s
             LEFT JOIN bulkhead.access_tokens t ON t.source_id = s.id
             CROSS JOIN LATERAL (SELECT count(*) AS exports FROM (
                 SELECT FROM bulkhead.exports e WHERE e.source_id = s.id AND e.purpose = 'export' AND e.delete_requested_at IS NULL
                  ORDER BY e.created_at DESC, e.id DESC LIMIT $3) few) n
             LEFT JOIN (SELECT e.source_id, count(*) AS live FROM bulkhead.exports e
                         WHERE e.state NOT IN ('completed', 'failed', 'cancelled') AND e.purpose = 'export' AND e.delete_requested_at IS NULL
                         GROUP BY e.source_id) l ON l.source_id = s.id
             LEFT JOIN LATERAL (SELECT e.finished_at AS at FROM bulkhead.exports e
                                 WHERE e.source_id = s.id AND e.state = 'completed' AND e.finished_at IS NOT NULL AND e.purpose = 'export'
                                   AND e.delete_requested_at IS NULL ORDER BY e.finished_at DESC LIMIT 1) succeeded ON true
             LEFT JOIN LATERAL (SELECT e.finished_at AS at FROM bulkhead.exports e
                                 WHERE e.source_id = s.id AND e.state = 'failed' AND e.finished_at IS NOT NULL AND e.purpose = 'export'
                                   AND e.delete_requested_at IS NULL ORDER BY e.finished_at DESC LIMIT 1) failed ON true
            ORDER BY s.newest DESC, s.id"#,
        only,
        limit,
        MOST_COUNTED + 1
    )
    .fetch_all(db)
    .await
}

/// An export of a source, in short.
#[derive(Debug)]
pub struct Exported {
    pub id: Uuid,
    pub level: String,
    pub group_id: Option<String>,
    pub state: String,
    pub failure_reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The newest exports of a source.
pub async fn exports(db: impl PgExecutor<'_>, id: Uuid, limit: i64) -> sqlx::Result<Vec<Exported>> {
    sqlx::query_as!(
        Exported,
        "SELECT id, level, group_id, state, failure_reason, created_at FROM bulkhead.exports
          WHERE source_id = $1 AND purpose = 'export' AND delete_requested_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $2",
        id,
        limit
    )
    .fetch_all(db)
    .await
}

/// The newest check of a source.
pub async fn last_check(db: impl PgExecutor<'_>, id: Uuid) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM bulkhead.exports WHERE source_id = $1 AND purpose = 'check' AND delete_requested_at IS NULL
          ORDER BY created_at DESC LIMIT 1",
        id
    )
    .fetch_optional(db)
    .await
}

/// What a person may set. `None`: the dialect is learned, anew.
pub async fn set(db: impl PgExecutor<'_>, id: Uuid, dialect: Option<&str>, kick_off_policy: &str, max_parallel: i32) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE bulkhead.sources
            SET dialect = CASE WHEN $2::text IS NULL AND NOT dialect_set THEN dialect ELSE $2 END, dialect_set = $2::text IS NOT NULL,
                kick_off_policy = $3, max_parallel = $4
          WHERE id = $1",
        id,
        dialect,
        kick_off_policy,
        max_parallel
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
