//! CIDR blocks.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::trust_domain::Dialect;

/// The name of a matcher for an address, and the words in Envoy's names of compound matchers: an id of `principals`, a
/// rule of `permissions`.
pub(super) struct AddressMatcher {
    /// The matcher, as in `direct_remote_ip`.
    pub(super) name: &'static str,
    /// `id` or `rule`.
    pub(super) singular: &'static str,
    /// `ids` or `rules`.
    pub(super) plural: &'static str,
}

impl AddressMatcher {
    /// Returns the matcher for a block. In Sallyport's dialect an IPv4 block contains the IPv4-mapped addresses too, and
    /// an IPv6 block that is not one of mapped addresses contains none of them.
    pub(super) fn block(&self, text: &str, dialect: Dialect) -> Result<Value> {
        let Self { name, singular, plural } = *self;
        let as_written = json!({name: cidr(text)?});
        if dialect == Dialect::Istio {
            return Ok(as_written);
        }
        let (address, length) = text.split_once('/').unwrap_or((text, "128"));
        let length: u8 = length.parse()?;
        let (ipv4, length) = match address.parse::<IpAddr>()? {
            IpAddr::V4(address) => (Some(address), length.min(32)),
            IpAddr::V6(address) if length >= 96 => (address.to_ipv4_mapped(), length - 96),
            IpAddr::V6(_) => (None, 0),
        };
        Ok(match ipv4 {
            Some(address) => {
                let plain = json!({"address_prefix": address.to_string(), "prefix_len": length});
                let mapped = json!({"address_prefix": address.to_ipv6_mapped().to_string(), "prefix_len": length + 96});
                json!({format!("or_{plural}"): {plural: [{name: plain}, {name: mapped}]}})
            }
            None => {
                let mapped = json!({name: {"address_prefix": "::ffff:0:0", "prefix_len": 96}});
                json!({format!("and_{plural}"): {plural: [as_written, {format!("not_{singular}"): mapped}]}})
            }
        })
    }
}

/// Returns Envoy's `CidrRange` of a block; a single address is a block of its full length.
fn cidr(text: &str) -> Result<Value> {
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
