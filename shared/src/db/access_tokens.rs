//! Table `access_tokens`: one token per source for all workers, minted under a lease in its row.

use std::time::Duration;

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::secrets::{Cipher, Sealed};

/// The row and column a token is bound to.
fn place(source_id: Uuid, version: i64) -> String {
    format!("access_tokens.token:{source_id}:{version}")
}

/// A token and its version: a 401 invalidates that version only.
#[derive(Clone)]
pub struct AccessToken {
    pub token: String,
    pub version: i64,
    /// What was granted.
    pub scope: Option<String>,
    /// What it was asked for.
    pub asked: Option<String>,
}

/// The right to mint: the version before, and what its token was asked for.
pub struct Minting {
    pub version: i64,
    pub asked: Option<String>,
}

/// What was minted.
pub struct NewToken<'a> {
    pub token: &'a str,
    pub scope: Option<&'a str>,
    pub asked: &'a str,
    pub usable: Duration,
}

/// The token of a source that is good for a while yet, if there is one this process can open.
pub async fn current(db: impl PgExecutor<'_>, cipher: &Cipher, source_id: Uuid) -> sqlx::Result<Option<AccessToken>> {
    let row = sqlx::query!(
        r#"SELECT version, token AS "token!", secret_key_id AS "secret_key_id!", scope, asked FROM bulkhead.access_tokens
            WHERE source_id = $1 AND token IS NOT NULL AND expires_at > clock_timestamp()"#,
        source_id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|row| {
        let sealed = Sealed { bytes: row.token, key_id: row.secret_key_id };
        let bytes = cipher.open(&sealed, &place(source_id, row.version)).ok()?;
        Some(AccessToken { token: String::from_utf8(bytes).ok()?, version: row.version, scope: row.scope, asked: row.asked })
    }))
}

/// Takes the right to mint for a minute; a token sealed with a key that is not ours counts as none. `None`: another is minting.
pub async fn take_minting(db: impl PgExecutor<'_>, cipher: &Cipher, source_id: Uuid, minter: Uuid) -> sqlx::Result<Option<Minting>> {
    sqlx::query_as!(
        Minting,
        "INSERT INTO bulkhead.access_tokens AS t (source_id, minter, minting_until)
         VALUES ($1, $2, clock_timestamp() + interval '60 s')
         ON CONFLICT (source_id) DO UPDATE SET minter = excluded.minter, minting_until = excluded.minting_until
          WHERE (t.minting_until IS NULL OR t.minting_until < clock_timestamp())
            AND (t.token IS NULL OR t.expires_at <= clock_timestamp() OR t.secret_key_id <> $3)
         RETURNING version, asked",
        source_id,
        minter,
        cipher.key_id()
    )
    .fetch_optional(db)
    .await
}

/// Stores what was minted, usable for so long, and ends the right to mint. `false`: the right had passed to another.
pub async fn store(
    db: impl PgExecutor<'_>,
    cipher: &Cipher,
    source_id: Uuid,
    minter: Uuid,
    version: i64,
    new: &NewToken<'_>,
) -> sqlx::Result<bool> {
    let version = version + 1;
    let sealed = cipher.seal(new.token.as_bytes(), &place(source_id, version));
    let done = sqlx::query!(
        "UPDATE bulkhead.access_tokens
            SET version = $3::bigint, token = $4, secret_key_id = $5, scope = $6, asked = $7, expires_at = clock_timestamp() + make_interval(secs => $8), minter = NULL, minting_until = NULL
          WHERE source_id = $1 AND minter = $2 AND version = $3::bigint - 1",
        source_id,
        minter,
        version,
        sealed.bytes,
        sealed.key_id,
        new.scope,
        new.asked,
        new.usable.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Minting failed: the next may try at once.
pub async fn give_up_minting(db: impl PgExecutor<'_>, source_id: Uuid, minter: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.access_tokens SET minter = NULL, minting_until = NULL WHERE source_id = $1 AND minter = $2",
        source_id,
        minter
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The server refused this version. A newer one stays.
pub async fn invalidate(db: impl PgExecutor<'_>, source_id: Uuid, version: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.access_tokens SET token = NULL, secret_key_id = NULL, expires_at = NULL WHERE source_id = $1 AND version = $2",
        source_id,
        version
    )
    .execute(db)
    .await?;
    Ok(())
}
