//! Networks.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A network as Envoy has it; an address by itself is one of that address.
pub(super) fn cidr(text: &str) -> Result<Value> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let whole = match address.parse().with_context(|| format!("the network {text}"))? {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let length: u8 = length.map(str::parse).transpose()?.unwrap_or(whole);
    if length > whole {
        bail!("the network {text}");
    }
    Ok(json!({"address_prefix": address, "prefix_len": length}))
}
