//! The first bytes of a connection, as a suite gives them.

use anyhow::{Context, Result};
use serde::Deserialize;
use testbed::client_hello;

/// The first bytes of a connection whose TLS is not terminated. A character up to U+00FF stands for the byte with that
/// value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Passthrough {
    /// The SNI of the ClientHello. Absent: it has none.
    pub server_name: Option<String>,
    /// Bytes that are not TLS, instead of a ClientHello.
    pub bytes: Option<String>,
}

/// Returns the first bytes of TLS that is not terminated, or those that are given instead.
pub(super) fn first_bytes(passthrough: &Passthrough) -> Result<Vec<u8>> {
    match &passthrough.bytes {
        Some(string) => bytes(string),
        None => client_hello(passthrough.server_name.as_deref().map(bytes).transpose()?.as_deref()),
    }
}

/// Returns the bytes that a string of a suite stands for.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    text.chars()
        .map(|character| u8::try_from(character).with_context(|| format!("{character} is beyond U+00FF")))
        .collect()
}
