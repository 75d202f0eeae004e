//! Secrets that we hand out once and keep as hashes only: the cookies of sessions and the tokens of programs.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_shared::clock;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// What a token begins with: people and secret scanners recognise it.
pub const TOKEN_PREFIX: &str = "bulkhead_";

/// Letters and digits that nobody confuses, for passwords that are typed from a terminal.
const PLAIN: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";

/// A cookie: 256 random bits.
pub fn session() -> SecretString {
    URL_SAFE_NO_PAD.encode(clock::random_bytes()).into()
}

/// A program's token: the prefix and 256 random bits.
pub fn token() -> SecretString {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(clock::random_bytes())).into()
}

/// A password of 100 bits, in groups: `xxxxx-xxxxx-xxxxx-xxxxx`.
pub fn password() -> SecretString {
    let letters = PLAIN.len() - 1;
    let mut text = String::new();
    // Bytes that would make some letters likelier than others are left out.
    let mut bytes = std::iter::repeat_with(clock::random_bytes).flatten().filter(|byte| usize::from(*byte) < 256 / letters * letters);
    for n in 0..20 {
        if n > 0 && n % 5 == 0 {
            text.push('-');
        }
        text.extend(bytes.next().map(|byte| char::from(PLAIN[usize::from(byte) % letters])));
    }
    text.into()
}

/// What is kept. The secret has 256 random bits, so that a plain hash is enough.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn each_is_long_and_another_each_time() {
        assert!(token().expose_secret().starts_with(TOKEN_PREFIX));
        for make in [session, token, password] {
            let (one, other) = (make(), make());
            assert!(one.expose_secret().len() >= 23);
            assert_ne!(one.expose_secret(), other.expose_secret());
        }
        let password = password();
        assert_eq!(password.expose_secret().split('-').map(str::len).collect::<Vec<_>>(), [5, 5, 5, 5]);
    }
}
