//! Table `signing_keys`: our own keys, whose public halves servers fetch.

use serde_json::Value;
use sqlx::{PgExecutor, PgPool};

use crate::{
    domain::private_key::PrivateKey,
    secrets::{Cipher, Resealed, Sealed, SecretError},
};

/// The row and column a private key is bound to.
fn place(kid: &str) -> String {
    format!("signing_keys.private_key:{kid}")
}

/// Keeps a new key.
pub async fn insert(db: impl PgExecutor<'_>, cipher: &Cipher, kid: &str, key: &PrivateKey, public_jwk: &Value) -> sqlx::Result<()> {
    let secret = serde_json::to_vec(key).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let sealed = cipher.seal(&secret, &place(kid));
    sqlx::query!(
        "INSERT INTO bulkhead.signing_keys (kid, algorithm, public_jwk, private_key, secret_key_id) VALUES ($1, $2, $3, $4, $5)",
        kid,
        key.algorithm.as_str(),
        public_jwk,
        sealed.bytes,
        sealed.key_id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The public halves of the keys that are in use, the oldest first.
pub async fn published(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!("SELECT public_jwk FROM bulkhead.signing_keys WHERE retired_at IS NULL ORDER BY created_at, kid")
        .fetch_all(db)
        .await
}

/// Why a key of ours cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoKey {
    #[error("this installation has no key with that kid; `bulkhead-api keys --list` lists those it has, `bulkhead-api keys` makes one")]
    Unknown,
    #[error("the key with that kid is retired; name another, or make one with `bulkhead-api keys` and register it")]
    Retired,
    #[error("the key with that kid cannot be opened: {0}")]
    Sealed(#[from] SecretError),
}

/// A key by its kid, opened.
pub async fn get(db: impl PgExecutor<'_>, cipher: &Cipher, kid: &str) -> sqlx::Result<Result<PrivateKey, NoKey>> {
    let row = sqlx::query!(
        r#"SELECT private_key, secret_key_id, retired_at IS NOT NULL AS "retired!" FROM bulkhead.signing_keys WHERE kid = $1"#,
        kid
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(Err(NoKey::Unknown)) };
    if row.retired {
        return Ok(Err(NoKey::Retired));
    }
    let sealed = Sealed { bytes: row.private_key, key_id: row.secret_key_id };
    match cipher.open(&sealed, &place(kid)) {
        Ok(secret) => serde_json::from_slice(&secret).map(Ok).map_err(|e| sqlx::Error::Decode(e.into())),
        Err(error) => Ok(Err(error.into())),
    }
}

/// The keys that another key sealed are sealed with ours; retired ones too.
pub async fn reseal(db: &PgPool, cipher: &Cipher) -> sqlx::Result<Resealed> {
    let rows = sqlx::query!("SELECT kid, private_key, secret_key_id FROM bulkhead.signing_keys WHERE secret_key_id <> $1", cipher.key_id())
        .fetch_all(db)
        .await?;
    let mut done = Resealed::default();
    for row in rows {
        let old = Sealed { bytes: row.private_key, key_id: row.secret_key_id };
        if let Some(new) = done.count(cipher, &old, &place(&row.kid)) {
            sqlx::query!(
                "UPDATE bulkhead.signing_keys SET private_key = $2, secret_key_id = $3 WHERE kid = $1 AND private_key = $4",
                row.kid,
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

/// A key in a list.
#[derive(Debug)]
pub struct Listed {
    pub kid: String,
    pub algorithm: String,
    pub created_at: chrono::DateTime<chrono::Utc>,
    pub retired_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// All of them, the oldest first.
pub async fn list(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(Listed, "SELECT kid, algorithm, created_at, retired_at FROM bulkhead.signing_keys ORDER BY created_at, kid")
        .fetch_all(db)
        .await
}

/// No longer published, nor used by new exports. `false`: there is no such key.
pub async fn retire(db: impl PgExecutor<'_>, kid: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!("UPDATE bulkhead.signing_keys SET retired_at = coalesce(retired_at, clock_timestamp()) WHERE kid = $1", kid)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}
