//! Keys and registrations of clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::state::Client;

/// What a client needs to get tokens. For tests and demonstrations only: the private key is made by the server.
#[derive(Debug, Clone, Serialize)]
pub struct ClientCredentials {
    pub client_id: String,
    pub token_url: String,
    pub private_jwk: Value,
    /// The same key as PKCS#8 PEM.
    pub private_pem: String,
}

/// A fresh RSA-2048 key for RS384.
pub struct Key {
    key: RsaPrivateKey,
    kid: String,
}

/// Takes up to a second on a slow machine.
pub fn make_key() -> Key {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("the machine has randomness");
    Key { key, kid: uuid::Uuid::new_v4().simple().to_string() }
}

impl Key {
    /// The public half as a JWK set (RFC 7517).
    pub fn jwks(&self) -> Value {
        let mut public = self.public();
        public["key_ops"] = json!(["verify"]);
        json!({"keys": [public]})
    }

    pub fn credentials(&self, client_id: String, token_url: String) -> ClientCredentials {
        ClientCredentials {
            client_id,
            token_url,
            private_jwk: self.private(),
            private_pem: self.key.to_pkcs8_pem(LineEnding::LF).expect("a valid key").to_string(),
        }
    }

    fn public(&self) -> Value {
        json!({
            "kty": "RSA",
            "alg": "RS384",
            "use": "sig",
            "kid": self.kid,
            "n": number(self.key.n()),
            "e": number(self.key.e()),
        })
    }

    fn private(&self) -> Value {
        let key = &self.key;
        let mut jwk = self.public();
        jwk["key_ops"] = json!(["sign"]);
        jwk["ext"] = json!(true);
        jwk["d"] = json!(number(key.d()));
        for (name, prime) in ["p", "q"].into_iter().zip(key.primes()) {
            jwk[name] = json!(number(prime));
        }
        jwk["dp"] = json!(key.dp().map(number));
        jwk["dq"] = json!(key.dq().map(number));
        jwk["qi"] = json!(key.crt_coefficient().as_ref().map(number));
        jwk
    }
}

/// Base64url of the big-endian bytes (RFC 7518, "Base64urlUInt").
fn number(number: &BigUint) -> String {
    URL_SAFE_NO_PAD.encode(number.to_bytes_be())
}

/// Registers a client and gives its id.
pub fn register(app: &App, client: Client) -> String {
    let id = format!("sandbox-{}", uuid::Uuid::new_v4());
    app.change(|state, _| state.clients.insert(id.clone(), client));
    id
}
