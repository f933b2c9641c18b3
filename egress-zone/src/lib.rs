//! The DNS zone that leads clients to an egress gateway, made from the gateway's rules: what they list has the address of
//! the gateway, and nothing else exists.
//!
//! The zone is that of the root in the form of a master file (RFC 1035, section 5), as unbound and others read it.

mod addresses;
mod plugin_configurations;

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Context, Result, anyhow};
use sallyport_policy::{DnsName, DnsNames, printable};

pub use addresses::parse_address;
use plugin_configurations::PluginConfiguration;

/// Lifetime of what clients and resolvers keep, in seconds: how long a change of the rules takes to arrive.
const TTL: u32 = 60;

/// Lifetime of the answer that a name does not exist, in seconds (RFC 2308, section 5).
const NEGATIVE_TTL: u32 = 30;

/// Returns the zone for a gateway at these addresses.
///
/// `file` names where `text` is from. `text` is YAML or JSON: an Envoy configuration with the filter `egress-allowlist`,
/// a file from which Envoy takes the filter's configuration, or that configuration by itself. Where it has several, the
/// zone has the names of all. Fails with the errors of the filter if that would refuse a configuration.
pub fn zone(file: &str, text: &str, addresses: &[IpAddr]) -> Result<String> {
    let file = printable(file.as_bytes());
    let document = serde_saphyr::from_str(text).map_err(|error| anyhow!("{error}")).context(file.clone())?;
    let configurations = plugin_configurations::find(&document).context(file.clone())?;
    let mut names = DnsNames::default();
    for PluginConfiguration { place, json } in &configurations {
        let added = names.add(json).map_err(|errors| anyhow!("{errors}"));
        added.with_context(|| format!("{file}: egress-allowlist refuses {place}"))?;
    }
    Ok(written(&file, &names.fewest(), addresses))
}

fn written(file: &str, names: &[DnsName], addresses: &[IpAddr]) -> String {
    let mut zone = format!(
        "; Names that the egress gateway lets someone reach: they have its address, and no other name exists.\n\
         ; Made by tools/egress-zone from {file}, to be changed there. A name that is here \"for\" a pattern covers more\n\
         ; than the pattern, for which DNS has none that is as narrow. The gateway decides.\n\
         $TTL {TTL}\n\
         . SOA gateway.invalid. hostmaster.invalid. 1 3600 600 86400 {NEGATIVE_TTL}\n\
         . NS gateway.invalid.\n"
    );
    for DnsName { name, wildcard, listed_by } in names {
        let star = if *wildcard { "*." } else { "" };
        let dot = if name.is_empty() { "" } else { "." };
        // Writing to a text does not fail.
        let _written = writeln!(zone, "; {}", listed_by.join(", "));
        for address in addresses {
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            let _written = writeln!(zone, "{star}{name}{dot} {kind} {address}");
        }
    }
    zone
}
