//! A secret that was typed and is needed again: the form comes back with an error, and the key need not be pasted once more. It stands in
//! the page sealed, good for this session and half an hour.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_shared::{
    clock,
    secrets::{Cipher, Sealed},
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Caller;

const GOOD_FOR: TimeDelta = TimeDelta::minutes(30);

/// What is kept.
#[derive(Default, Serialize, Deserialize)]
pub struct Secrets {
    pub private_key: Option<Value>,
    pub bearer_token: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    until: i64,
    secrets: Secrets,
}

fn place(caller: &Caller) -> String {
    format!("pages.new:{}", caller.session.as_ref().map_or_else(|| "open".to_owned(), |session| session.id.to_string()))
}

impl Secrets {
    pub const fn is_empty(&self) -> bool {
        self.private_key.is_none() && self.bearer_token.is_none()
    }

    /// For a hidden field.
    pub fn seal(self, cipher: &Cipher, caller: &Caller) -> String {
        if self.is_empty() {
            return String::new();
        }
        let envelope = Envelope { until: (clock::now() + GOOD_FOR).timestamp(), secrets: self };
        let plain = serde_json::to_vec(&envelope).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(cipher.seal(&plain, &place(caller)).bytes)
    }

    /// Nothing, if it is too old, of another session, or not ours.
    pub fn open(text: &str, cipher: &Cipher, caller: &Caller) -> Self {
        let opened = || {
            let sealed = Sealed { bytes: URL_SAFE_NO_PAD.decode(text).ok()?, key_id: cipher.key_id().to_owned() };
            let envelope: Envelope = serde_json::from_slice(&cipher.open(&sealed, &place(caller)).ok()?).ok()?;
            (envelope.until > clock::now().timestamp()).then_some(envelope.secrets)
        };
        opened().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_shared::domain::role::Role;
    use uuid::Uuid;

    use super::*;
    use crate::access::Session;

    fn caller(id: u128) -> Caller {
        let session = Session { id: Uuid::from_u128(id), user_id: Uuid::nil(), csrf: String::new() };
        Caller { role: Role::Operator, session: Some(session), ..Caller::open(None) }
    }

    #[test]
    fn a_kept_secret_opens_for_its_session_only_and_does_not_show() {
        let cipher = Cipher::from_base64(&base64::engine::general_purpose::STANDARD.encode([1; 32])).unwrap();
        let secrets = Secrets { bearer_token: Some("hush".to_owned()), private_key: None };
        let sealed = secrets.seal(&cipher, &caller(1));
        assert!(!sealed.contains("hush"));
        assert_eq!(Secrets::open(&sealed, &cipher, &caller(1)).bearer_token.as_deref(), Some("hush"));
        assert!(Secrets::open(&sealed, &cipher, &caller(2)).is_empty());
        assert!(Secrets::open("nonsense", &cipher, &caller(1)).is_empty());
    }
}
