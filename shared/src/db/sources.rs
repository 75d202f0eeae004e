//! Table `sources`.

mod overview;

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::interval;
use crate::{
    domain::source::{Auth, Dialect, Discovered, Source},
    secrets::{Cipher, Resealed, Sealed, SecretError},
};

pub use overview::{Exported, Overview, exports, last_check, overview, set};

/// What identifies a source, and its secret in the clear.
pub struct NewSource<'a> {
    pub base_url: &'a str,
    pub auth: Auth,
    pub client_id: &'a str,
    pub thumbprint: &'a str,
    pub token_url: Option<&'a str>,
    pub algorithm: Option<&'a str>,
    pub jwks_url: Option<&'a str>,
    pub scope: Option<&'a str>,
    pub secret: Option<&'a [u8]>,
}

/// The row and column a source's secret is bound to.
fn place(id: Uuid) -> String {
    format!("sources.secret:{id}")
}

/// What tells two sources apart, whatever its length.
fn identity(new: &NewSource<'_>) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in [new.base_url, new.auth.as_str(), new.client_id, new.thumbprint] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

/// The source with this base URL, client and key; made if it is new, its settings brought up to date if not.
pub async fn find_or_create(db: &mut PgConnection, cipher: &Cipher, new: &NewSource<'_>) -> sqlx::Result<Uuid> {
    let identity = identity(new);
    match find(db, cipher, new, &identity).await? {
        // Nothing is written: kick-offs of one source at once do not wait for each other's commits.
        Some(id) => Ok(id),
        None => create_or_update(db, cipher, new, &identity).await,
    }
}

/// The source, if it is known with exactly these settings and its secret is sealed with our key.
async fn find(db: &mut PgConnection, cipher: &Cipher, new: &NewSource<'_>, identity: &[u8]) -> sqlx::Result<Option<Uuid>> {
    let known = sqlx::query!(
        "SELECT id, secret, secret_key_id FROM bulkhead.sources
          WHERE identity = $1 AND token_url IS NOT DISTINCT FROM $2 AND algorithm IS NOT DISTINCT FROM $3
            AND jwks_url IS NOT DISTINCT FROM $4 AND ($5::text IS NULL OR scope = $5)",
        identity,
        new.token_url,
        new.algorithm,
        new.jwks_url,
        new.scope
    )
    .fetch_optional(db)
    .await?;
    let Some(known) = known else { return Ok(None) };
    let opened = match (known.secret, known.secret_key_id) {
        (Some(bytes), Some(key_id)) => cipher.open(&Sealed { bytes, key_id }, &place(known.id)).ok(),
        _ => None,
    };
    Ok((opened.as_deref() == new.secret).then_some(known.id))
}

async fn create_or_update(db: &mut PgConnection, cipher: &Cipher, new: &NewSource<'_>, identity: &[u8]) -> sqlx::Result<Uuid> {
    let fresh = Uuid::now_v7();
    let sealed = new.secret.map(|secret| cipher.seal(secret, &place(fresh)));
    let id = sqlx::query_scalar!(
        r#"INSERT INTO bulkhead.sources
               (id, base_url, auth, client_id, thumbprint, token_url, algorithm, jwks_url, scope, secret, secret_key_id, identity)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
           ON CONFLICT (identity) DO UPDATE
              SET token_url = excluded.token_url,
                  -- Left out now: the server is asked. Until it answers what was given before will do.
                  token_endpoint = CASE WHEN excluded.token_url IS NULL THEN coalesce(sources.token_url, sources.token_endpoint)
                                        ELSE sources.token_endpoint END,
                  discovered_at = CASE WHEN excluded.token_url IS NULL AND sources.token_url IS NOT NULL THEN 'epoch'
                                       ELSE sources.discovered_at END,
                  algorithm = excluded.algorithm, jwks_url = excluded.jwks_url, scope = coalesce(excluded.scope, sources.scope)
           RETURNING id"#,
        fresh,
        new.base_url,
        new.auth.as_str(),
        new.client_id,
        new.thumbprint,
        new.token_url,
        new.algorithm,
        new.jwks_url,
        new.scope,
        sealed.as_ref().map(|s| s.bytes.as_slice()),
        sealed.as_ref().map(|s| s.key_id.as_str()),
        identity,
    )
    .fetch_one(&mut *db)
    .await?;
    // A source known from before may be sealed with a key that was replaced: seal what was given with ours.
    if let Some(secret) = new.secret.filter(|_| id != fresh) {
        let sealed = cipher.seal(secret, &place(id));
        sqlx::query!("UPDATE bulkhead.sources SET secret = $2, secret_key_id = $3 WHERE id = $1", id, sealed.bytes, sealed.key_id)
            .execute(db)
            .await?;
    }
    Ok(id)
}

/// A source by its id.
pub async fn get(db: &PgPool, id: Uuid) -> sqlx::Result<Source> {
    get_many(db, &[id]).await?.pop().ok_or(sqlx::Error::RowNotFound)
}

/// Sources by their ids, in no order.
pub async fn get_many(db: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Source>> {
    let rows = sqlx::query!(
        r#"SELECT id, base_url, auth, client_id, token_url, algorithm, jwks_url, scope, kick_off_policy, dialect, dialect_set, parallel < max_parallel AS "slowed_down!",
                  token_endpoint, scopes_supported, capabilities, discovered_at IS NOT NULL AS "discovered!",
                  coalesce(discovered_at > clock_timestamp() - interval '1 day', false) AS "discovery_is_fresh!",
                  greatest(extract(epoch FROM paused_until - clock_timestamp())::float8, 0) AS "paused!"
             FROM bulkhead.sources WHERE id = ANY($1)"#,
        ids
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Source {
                id: row.id,
                base_url: row.base_url,
                auth: row.auth.parse()?,
                client_id: row.client_id,
                token_url: row.token_url,
                discovered: row.discovered.then_some(Discovered {
                    token_endpoint: row.token_endpoint,
                    scopes_supported: row.scopes_supported,
                    capabilities: row.capabilities,
                }),
                discovery_is_fresh: row.discovery_is_fresh,
                algorithm: row.algorithm,
                jwks_url: row.jwks_url,
                scope: row.scope,
                kick_off_policy: row.kick_off_policy.parse()?,
                dialect: row.dialect.map(|word| word.parse()).transpose()?,
                dialect_set: row.dialect_set,
                slowed_down: row.slowed_down,
                paused: Duration::try_from_secs_f64(row.paused).unwrap_or_default(),
            })
        })
        .collect()
}

/// How the server wants to be asked, as it turned out. What a person set stays.
pub async fn learn_dialect(db: impl PgExecutor<'_>, id: Uuid, dialect: Dialect) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.sources SET dialect = $2 WHERE id = $1 AND NOT dialect_set AND dialect IS DISTINCT FROM $2",
        id,
        dialect.as_str()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// How the server wants to be asked, as a person says.
pub async fn set_dialect(db: impl PgExecutor<'_>, id: Uuid, dialect: Dialect) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.sources SET dialect = $2, dialect_set = true WHERE id = $1 AND (dialect IS DISTINCT FROM $2 OR NOT dialect_set)",
        id,
        dialect.as_str()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Other servers (FHIR base URLs) at which the same key is used with this token endpoint.
pub async fn others_with_endpoint(db: &PgPool, id: Uuid, endpoint: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT DISTINCT o.base_url FROM bulkhead.sources s JOIN bulkhead.sources o ON o.thumbprint = s.thumbprint AND o.base_url <> s.base_url
          WHERE s.id = $1 AND s.thumbprint <> '' AND coalesce(o.token_url, o.token_endpoint) = $2 LIMIT 100",
        id,
        endpoint
    )
    .fetch_all(db)
    .await
}

/// What its server told about itself, now. What it no longer tells is forgotten.
pub async fn set_discovered(db: &PgPool, id: Uuid, found: &Discovered) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.sources SET token_endpoint = $2, scopes_supported = $3, capabilities = $4, discovered_at = clock_timestamp() WHERE id = $1",
        id,
        found.token_endpoint,
        &found.scopes_supported,
        &found.capabilities
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The server refused a file because it is asked for too much: half as many downloads at once, at least one, and none before
/// `pause` is over. Many downloads are refused together, and mean one thing: within a second of a change nothing is halved again.
/// Says how many downloads there may be now, if that changed.
pub async fn slow_down(db: &PgPool, id: Uuid, pause: Duration) -> sqlx::Result<Option<i32>> {
    let changed = sqlx::query!(
        r#"UPDATE bulkhead.sources s
              SET slowed_to = CASE WHEN old.settled THEN greatest(old.parallel / 2, 1) ELSE s.slowed_to END,
                  parallel_changed_at = CASE WHEN old.settled THEN clock_timestamp() ELSE s.parallel_changed_at END,
                  paused_until = greatest(s.paused_until, clock_timestamp() + $2)
             FROM (SELECT id, parallel, parallel_changed_at < clock_timestamp() - interval '1 s' AS settled
                     FROM bulkhead.sources WHERE id = $1 FOR NO KEY UPDATE) old
            -- Within a second of a change a refusal is news only if it asks for a longer pause.
            WHERE s.id = old.id AND (old.settled OR clock_timestamp() + $2 > s.paused_until + interval '1 s')
           RETURNING old.parallel AS before, s.parallel"#,
        id,
        interval(pause)
    )
    .fetch_optional(db)
    .await?;
    Ok(changed.filter(|row| row.parallel < row.before).map(|row| row.parallel))
}

/// A file went well: one more download at once, if nothing changed for ten seconds. That is slow on purpose. A server's
/// window is often minutes long (3,000 requests in five minutes, say), and each refusal halves what was regained.
/// Says how many downloads there may be now, if that changed.
pub async fn speed_up(db: &PgPool, id: Uuid) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "UPDATE bulkhead.sources SET slowed_to = nullif(parallel + 1, max_parallel), parallel_changed_at = clock_timestamp()
          WHERE id = $1 AND parallel < max_parallel AND parallel_changed_at < clock_timestamp() - interval '10 s'
         RETURNING parallel",
        id
    )
    .fetch_optional(db)
    .await
}

/// The private key or bearer token of a source, opened.
pub async fn secret(db: &PgPool, cipher: &Cipher, id: Uuid) -> sqlx::Result<Result<Option<Vec<u8>>, SecretError>> {
    let row = sqlx::query!("SELECT secret, secret_key_id FROM bulkhead.sources WHERE id = $1", id).fetch_one(db).await?;
    let (Some(bytes), Some(key_id)) = (row.secret, row.secret_key_id) else {
        return Ok(Ok(None));
    };
    Ok(cipher.open(&Sealed { bytes, key_id }, &place(id)).map(Some))
}

/// The secrets that another key sealed are sealed with ours.
pub async fn reseal(db: &PgPool, cipher: &Cipher) -> sqlx::Result<Resealed> {
    let rows = sqlx::query!(
        r#"SELECT id, secret AS "secret!", secret_key_id AS "key_id!" FROM bulkhead.sources WHERE secret_key_id <> $1"#,
        cipher.key_id()
    )
    .fetch_all(db)
    .await?;
    let mut done = Resealed::default();
    for row in rows {
        let old = Sealed { bytes: row.secret, key_id: row.key_id };
        if let Some(new) = done.count(cipher, &old, &place(row.id)) {
            sqlx::query!(
                "UPDATE bulkhead.sources SET secret = $2, secret_key_id = $3 WHERE id = $1 AND secret = $4",
                row.id,
                new.bytes,
                new.key_id,
                old.bytes
            )
            .execute(db)
            .await?;
        }
    }
    Ok(done)
}

/// A source's base URL, in the caller's transaction.
pub async fn base_url(db: impl sqlx::PgExecutor<'_>, id: Uuid) -> sqlx::Result<String> {
    sqlx::query_scalar!("SELECT base_url FROM bulkhead.sources WHERE id = $1", id).fetch_one(db).await
}

/// Those at a FHIR base URL: one for each client and key.
pub async fn at(db: impl PgExecutor<'_>, base_url: &str) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("SELECT id FROM bulkhead.sources WHERE base_url = $1", base_url).fetch_all(db).await
}

/// The base URLs, each once, in order.
pub async fn base_urls(db: impl PgExecutor<'_>, most: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("SELECT DISTINCT base_url FROM bulkhead.sources ORDER BY base_url LIMIT $1", most).fetch_all(db).await
}
