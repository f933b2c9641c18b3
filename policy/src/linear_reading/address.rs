//! Addresses and ports of a connection.

use std::net::IpAddr;

use crate::authz::fields::ip_block::IpBlock;
use crate::authz::fields::port::Port;
use crate::linear_reading::matches::Matches;

/// Bit by bit.
impl Matches<IpAddr> for IpBlock {
    fn matches(&self, address: &IpAddr) -> bool {
        let block = self.to_string();
        let Some((network, length)) = block.split_once('/') else { return false };
        let (Ok(network), Ok(length)) = (network.parse(), length.parse()) else { return false };
        match (network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => agree(&network.octets(), &address.octets(), length),
            (IpAddr::V6(network), IpAddr::V6(address)) => agree(&network.octets(), &address.octets(), length),
            _ => false,
        }
    }
}

/// Reports whether the first `length` bits agree.
fn agree(network: &[u8], address: &[u8], length: usize) -> bool {
    let bits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:08b}")).collect::<String>();
    bits(network).bytes().zip(bits(address).bytes()).take(length).all(|(one, other)| one == other)
}

impl Matches<u16> for Port {
    fn matches(&self, port: &u16) -> bool {
        self.to_string() == port.to_string()
    }
}
