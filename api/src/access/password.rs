//! Passwords: argon2id (RFC 9106) with OWASP's parameters, off the threads that answer, and few at once: each takes 19 MiB.

use std::{sync::LazyLock, time::Duration};

use anyhow::Context as _;
use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

/// The shortest that is taken.
pub const SHORTEST: usize = 12;
/// The longest, in bytes: a hash of more is work for nothing.
pub const LONGEST: usize = 1024;

static AT_ONCE: Semaphore = Semaphore::const_new(2);
/// Hashing takes some hundredths of a second: who waits this long is one of very many.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Of nobody's password: what is compared where there is no such user, so that it takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| compute(super::secret::session().expose_secret()).unwrap_or_default());

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("the password is too short; use {SHORTEST} characters or more, such as four words")]
    Short,
    #[error("the password is too long; use {LONGEST} bytes at most")]
    Long,
    #[error("the password is too easy to guess; do not use the user's name or one character again and again")]
    Easy,
}

/// Whether it may be a password of this user.
pub fn check(name: &str, password: &SecretString) -> Result<(), Unfit> {
    let text = password.expose_secret();
    let same = text.chars().next().is_some_and(|first| text.chars().all(|c| c == first));
    if text.chars().count() < SHORTEST {
        return Err(Unfit::Short);
    }
    if text.len() > LONGEST {
        return Err(Unfit::Long);
    }
    if same || text.to_lowercase().replace(&name.to_lowercase(), "").chars().count() < SHORTEST / 2 {
        return Err(Unfit::Easy);
    }
    Ok(())
}

/// Its hash, as a PHC string.
pub async fn hash(password: SecretString) -> anyhow::Result<String> {
    aside(move || compute(password.expose_secret())).await?
}

/// Runs it on a thread of its own when it is its turn. The turn ends with the work, not with a caller who goes away.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let turn = tokio::time::timeout(LONGEST_WAIT, AT_ONCE.acquire()).await.context("too many passwords are checked at once")??;
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    Ok(work.await?)
}

/// Whether it is the password behind a hash; without a hash it is not, and that takes as long.
pub async fn is_right(password: SecretString, hash: Option<String>) -> anyhow::Result<bool> {
    aside(move || {
        let known = hash.is_some();
        let hash = hash.as_deref().unwrap_or(&NOBODY);
        let same = password.expose_secret().len() <= LONGEST && verify(password.expose_secret(), hash);
        known && same
    })
    .await
}

fn compute(password: &str) -> anyhow::Result<String> {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes()).map_err(|e| anyhow::anyhow!("argon2: {e}"))?;
    Ok(hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_right_for_its_own_hash_only() {
        let hash = hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_right("correct horse battery".into(), Some(hash.clone())).await.unwrap());
        assert!(!is_right("correct horse batterz".into(), Some(hash)).await.unwrap());
        assert!(!is_right("correct horse battery".into(), None).await.unwrap());
    }

    #[test]
    fn what_is_easy_to_guess_is_refused() {
        for (password, why) in [
            ("short", Some(Unfit::Short)),
            ("aaaaaaaaaaaaaaaa", Some(Unfit::Easy)),
            ("ann-ann-ann-ann", Some(Unfit::Easy)),
            ("four words in a row", None),
            ("一二三四五六七八九十十一", None),
        ] {
            assert_eq!(check("ann", &password.into()).err(), why, "{password}");
        }
        assert_eq!(check("ann", &"ab".repeat(600).into()), Err(Unfit::Long));
    }
}
