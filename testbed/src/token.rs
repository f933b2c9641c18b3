//! JSON Web Tokens, made on the spot.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// Signs tokens by a shared secret (HS256, RFC 7518, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenIssuer {
    secret: [u8; 32],
}

impl TokenIssuer {
    /// An issuer whose secret is derived from `name`: the same name is the same issuer.
    pub fn new(name: &str) -> Self {
        let mut secret = [0; 32];
        for (to, from) in secret.iter_mut().zip(name.bytes().cycle()) {
            *to = from;
        }
        Self { secret }
    }

    /// A token with these claims, in the compact form (RFC 7515, section 7.1).
    pub fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The key set by which a proxy validates its tokens (RFC 7517), as JSON.
    pub fn key_set(&self) -> String {
        json!({"keys": [{"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(self.secret)}]}).to_string()
    }
}
