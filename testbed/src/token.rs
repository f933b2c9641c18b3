//! Signed JSON Web Tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// An issuer that signs tokens with a shared secret (HS256, RFC 7518, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenIssuer {
    secret: [u8; 32],
}

impl TokenIssuer {
    /// Derives the secret from `name`: equal names make equal issuers.
    pub fn new(name: &str) -> Self {
        let mut secret = [0; 32];
        for (to, from) in secret.iter_mut().zip(name.bytes().cycle()) {
            *to = from;
        }
        Self { secret }
    }

    /// Signs a token with these claims, in compact form (RFC 7515, section 7.1).
    pub fn token(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The JSON Web Key Set (RFC 7517) that validates this issuer's tokens.
    pub fn key_set(&self) -> String {
        json!({"keys": [{"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(self.secret)}]}).to_string()
    }
}
