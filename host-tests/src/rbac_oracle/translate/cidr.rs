//! CIDR blocks.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Returns Envoy's `CidrRange` of a block; a single address is a block of its full length.
pub(super) fn cidr(text: &str) -> Result<Value> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let max_length = match address.parse().with_context(|| format!("bad IP block {text}"))? {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let length: u8 = length.map(str::parse).transpose()?.unwrap_or(max_length);
    if length > max_length {
        bail!("bad IP block {text}");
    }
    Ok(json!({"address_prefix": address, "prefix_len": length}))
}
