//! Addresses of a gateway, as clients are told them.

use std::net::IpAddr;

use anyhow::{Result, anyhow, bail};
use sallyport_policy::printable;

/// Reads an address of the gateway. Fails on what no client can connect to.
pub fn parse_address(text: &str) -> Result<IpAddr> {
    let written = printable(text.as_bytes());
    let example = "write the address at which clients reach the gateway, as in --address 192.0.2.53";
    let address: IpAddr = text.parse().map_err(|_| anyhow!("--address: `{written}` is no IP address; {example}"))?;
    let nobody = match address {
        _ if address.is_unspecified() => "every address of a machine and none in particular",
        _ if address.is_multicast() => "a multicast address",
        IpAddr::V4(address) if address.is_broadcast() => "the broadcast address",
        IpAddr::V6(mapped) if mapped.to_ipv4_mapped().is_some() => "an IPv4 address in the form of IPv6",
        _ => return Ok(address),
    };
    bail!("--address: {written} is {nobody}; {example}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_clients_can_connect_to() -> Result<()> {
        for text in ["192.0.2.53", "10.231.77.2", "127.0.0.1", "2001:db8::53"] {
            assert_eq!(parse_address(text)?.to_string(), text);
        }
        Ok(())
    }

    #[test]
    fn what_is_refused_says_why() {
        let rows = [
            ("gateway.example", "`gateway.example` is no IP address"),
            ("", "`` is no IP address"),
            ("192.0.2.53/32", "`192.0.2.53/32` is no IP address"),
            ("[2001:db8::53]", "`[2001:db8::53]` is no IP address"),
            ("192.0.2.53\n*. A 192.0.2.1", "`192.0.2.53\\n*. A 192.0.2.1` is no IP address"),
            ("0.0.0.0", "0.0.0.0 is every address of a machine and none in particular"),
            ("::", ":: is every address of a machine and none in particular"),
            ("224.0.0.251", "224.0.0.251 is a multicast address"),
            ("255.255.255.255", "255.255.255.255 is the broadcast address"),
            ("::ffff:192.0.2.53", "::ffff:192.0.2.53 is an IPv4 address in the form of IPv6"),
        ];
        for (text, problem) in rows {
            let found = parse_address(text).map_err(|error| error.to_string());
            let hint = "write the address at which clients reach the gateway, as in --address 192.0.2.53";
            assert_eq!(found, Err(format!("--address: {problem}; {hint}")));
        }
    }
}
