//! Secrets at rest: AES-256-GCM, the key from the environment or a file of mode 0600. The row and the column
//! a ciphertext belongs to are bound to it, so that it cannot be moved to another row.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write as _},
    path::Path,
};

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::clock;

const NONCE: usize = 12;

/// Seals and opens secrets.
#[derive(Clone)]
pub struct Cipher {
    cipher: Aes256Gcm,
    key_id: String,
    /// Opens what it sealed, and seals nothing: while one key replaces another.
    other: Option<Box<Cipher>>,
}

/// A sealed secret and the id of the key that sealed it.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub bytes: Vec<u8>,
    pub key_id: String,
}

/// Why a secret key or a sealed secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("no secret key: set BULKHEAD_SECRET_KEY (32 bytes in base64; `openssl rand -base64 32` makes one) or BULKHEAD_SECRET_KEY_FILE")]
    Missing,
    #[error("the secret key must be 32 bytes in base64; `openssl rand -base64 32` makes one")]
    Malformed,
    #[error("the secret key file {0} may be read by others; chmod 600 it")]
    Readable(String),
    #[error("cannot read the secret key file {0}: {1}")]
    File(String, std::io::Error),
    #[error("cannot make the secret key file {0}: {1}")]
    Unmade(String, std::io::Error),
    #[error(
        "a stored secret was sealed with key {stored}, this process has key {ours}; start it with the key it was sealed with, or with that \
             key in BULKHEAD_SECRET_KEY_OTHER"
    )]
    OtherKey { stored: String, ours: String },
    #[error("a stored secret cannot be opened: it was changed or moved; submit the credentials again")]
    Broken,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cipher({})", self.key_id)
    }
}

impl Cipher {
    /// From 32 bytes in base64.
    pub fn from_base64(text: &str) -> Result<Self, SecretError> {
        let key: [u8; 32] = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(SecretError::Malformed)?;
        let digest = Sha256::digest(key);
        Ok(Self {
            cipher: Aes256Gcm::new(&key.into()),
            key_id: format!("{:08x}", u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])),
            other: None,
        })
    }

    /// From a file that only its owner may read.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        use std::os::unix::fs::PermissionsExt as _;
        let shown = || path.display().to_string();
        let meta = std::fs::metadata(path).map_err(|e| SecretError::File(shown(), e))?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(SecretError::Readable(shown()));
        }
        let text = std::fs::read_to_string(path).map_err(|e| SecretError::File(shown(), e))?;
        Self::from_base64(&text)
    }

    /// Makes a file with a new key that only its owner may read; false if one is there already, which is left as it is. Whole or not at all:
    /// written beside, then linked to its name.
    pub fn make_file(path: &Path) -> Result<bool, SecretError> {
        let made = || {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
            writeln!(fresh, "{}", STANDARD.encode(clock::random_bytes()))?;
            fresh.as_file().sync_all()?;
            match fresh.persist_noclobber(path) {
                Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error.error),
                Ok(_) => Ok(true),
            }
        };
        if path.exists() { Ok(false) } else { made().map_err(|error| SecretError::Unmade(path.display().to_string(), error)) }
    }

    /// Opens what another key sealed, too.
    #[must_use]
    pub fn with_other(self, other: Self) -> Self {
        Self { other: Some(Box::new(other)), ..self }
    }

    /// Names the key that seals.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Seals a secret for one row and column.
    #[must_use]
    pub fn seal(&self, secret: &[u8], place: &str) -> Sealed {
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&clock::random_bytes()[..NONCE]);
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: place.as_bytes() })
            .expect("AES-GCM seals anything under 64 GiB");
        Sealed { bytes: [&nonce[..], &sealed[..]].concat(), key_id: self.key_id.clone() }
    }

    /// Opens a secret that was sealed for this row and column.
    pub fn open(&self, sealed: &Sealed, place: &str) -> Result<Vec<u8>, SecretError> {
        if sealed.key_id != self.key_id {
            if let Some(other) = self.other.as_ref().filter(|other| other.key_id == sealed.key_id) {
                return other.open(sealed, place);
            }
            return Err(SecretError::OtherKey { stored: sealed.key_id.clone(), ours: self.key_id.clone() });
        }
        let (nonce, bytes) = sealed.bytes.split_at_checked(NONCE).ok_or(SecretError::Broken)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SecretError::Broken)?;
        self.cipher.decrypt(&Nonce::from(nonce), Payload { msg: bytes, aad: place.as_bytes() }).map_err(|_| SecretError::Broken)
    }
}

/// What became of the secrets that another key had sealed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    pub done: u64,
    /// Why some could not be opened, each reason once.
    pub closed: BTreeSet<String>,
}

impl Resealed {
    /// The secret, sealed with our key, and counted. `None`: it cannot be opened.
    pub(crate) fn count(&mut self, cipher: &Cipher, old: &Sealed, place: &str) -> Option<Sealed> {
        match cipher.open(old, place) {
            Ok(secret) => {
                self.done += 1;
                Some(cipher.seal(&secret, place))
            }
            Err(why) => {
                self.closed.insert(why.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(byte: u8) -> Cipher {
        Cipher::from_base64(&STANDARD.encode([byte; 32])).unwrap()
    }

    #[test]
    fn a_secret_opens_in_its_place_with_its_key_only() {
        let ours = cipher(1);
        let sealed = ours.seal(b"secret", "sources.secret:1");
        assert_eq!(ours.open(&sealed, "sources.secret:1").unwrap(), b"secret");
        assert!(matches!(ours.open(&sealed, "sources.secret:2"), Err(SecretError::Broken)));
        assert!(matches!(cipher(2).open(&sealed, "sources.secret:1"), Err(SecretError::OtherKey { .. })));
        assert_ne!(ours.seal(b"secret", "x").bytes, ours.seal(b"secret", "x").bytes);
    }

    #[test]
    fn what_another_key_sealed_opens_while_that_key_is_named() {
        let (old, both) = (cipher(1), cipher(2).with_other(cipher(1)));
        let sealed = old.seal(b"secret", "sources.secret:1");
        assert_eq!(both.open(&sealed, "sources.secret:1").unwrap(), b"secret");
        assert!(matches!(both.open(&sealed, "sources.secret:2"), Err(SecretError::Broken)));
        assert_eq!(both.seal(b"secret", "x").key_id, cipher(2).key_id());
        assert!(matches!(both.open(&cipher(3).seal(b"secret", "x"), "x"), Err(SecretError::OtherKey { .. })));
    }

    #[test]
    fn a_key_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, STANDARD.encode([7; 32])).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Cipher::from_file(&path), Err(SecretError::Readable(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Cipher::from_file(&path).is_ok());
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(Cipher::make_file(&path).unwrap());
        let made = Cipher::from_file(&path).unwrap();
        assert!(!Cipher::make_file(&path).unwrap());
        assert_eq!(Cipher::from_file(&path).unwrap().key_id(), made.key_id());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(Cipher::make_file(&dir.path().join("none/key")), Err(SecretError::Unmade(..))));
    }
}
