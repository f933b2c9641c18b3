//! Addresses and ports of a connection.

use std::net::IpAddr;

use crate::authz::fields::ip_block::IpBlock;
use crate::authz::fields::port::Port;
use crate::linear_reading::matches::Matches;

/// Bit by bit.
impl Matches<IpAddr> for IpBlock {
    fn matches(&self, address: &IpAddr) -> bool {
        let block = self.to_string();
        let (network, length) = block.split_once('/').expect("a CIDR");
        let (network, address) = match (network.parse().expect("an address"), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => (network.octets().to_vec(), address.octets().to_vec()),
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.octets().to_vec(), address.octets().to_vec()),
            _ => return false,
        };
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        (0..length.parse().expect("a length")).all(|at| bit(&network, at) == bit(&address, at))
    }
}

impl Matches<u16> for Port {
    fn matches(&self, port: &u16) -> bool {
        self.to_string() == port.to_string()
    }
}
