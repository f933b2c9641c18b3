//! `source.ipBlocks`: the address that the peer comes from.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use hashbrown::HashMap;

use crate::index::{Matched, ValueId};
use crate::order::sort_by;

/// A network: addresses that begin with the same bits. An IPv4 network is held as its IPv4-mapped form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IpBlock {
    first: u128,
    /// How many leading bits of the 128 count.
    bits: u8,
}

/// The bits before an IPv4 address in its IPv4-mapped form (RFC 4291, section 2.5.5.2).
const BEFORE_V4: u8 = 96;

fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX << (128 - u32::from(bits.min(128))),
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl IpBlock {
    /// Parses an address or a CIDR. Bits beyond the prefix are dropped, as Envoy does.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let bad =
            || format!("bad IP block `{text}`: expected an address or a CIDR, as in `10.0.0.0/8` or `2001:db8::/32`");
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let (before, most) = if address.is_ipv4() { (BEFORE_V4, 32) } else { (0, 128) };
        let length = match length {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse::<u8>().ok().filter(|length| *length <= most)
            }
            Some(_) => None,
            None => Some(most),
        };
        let bits = before + length.ok_or_else(bad)?;
        Ok(Self { first: mapped(address) & mask(bits), bits })
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let differing = (mapped(address) ^ self.first).leading_zeros();
        differing >= u32::from(self.bits)
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.first);
        match (address.to_ipv4_mapped(), self.bits.checked_sub(BEFORE_V4)) {
            (Some(address), Some(bits)) => write!(f, "{address}/{bits}"),
            _ => write!(f, "{address}/{}", self.bits),
        }
    }
}

/// Networks by their length and first address: a lookup for each length that is listed, at most 129.
pub(super) struct Index {
    lengths: Vec<u8>,
    blocks: HashMap<(u8, u128), ValueId>,
}

impl Index {
    pub(super) fn new(blocks: impl Iterator<Item = (IpBlock, ValueId)>) -> Self {
        let blocks: HashMap<_, _> = blocks.map(|(block, id)| ((block.bits, block.first), id)).collect();
        let mut lengths: Vec<_> = blocks.keys().map(|(bits, _)| *bits).collect();
        sort_by(&mut lengths, Ord::cmp);
        lengths.dedup();
        Self { lengths, blocks }
    }

    pub(super) fn lookup(&self, address: Option<IpAddr>, matched: &mut Matched) {
        let Some(address) = address.map(mapped) else { return };
        matched
            .extend(self.lengths.iter().filter_map(|bits| self.blocks.get(&(*bits, address & mask(*bits)))).copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_agrees_with_each_block() {
        let texts =
            ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3", "10.1.0.0/16", "::/0", "2001:db8::/32", "::1", "10.1.2.3/31"];
        let blocks: Vec<_> = texts.into_iter().flat_map(IpBlock::parse).collect();
        assert_eq!(blocks.len(), texts.len());
        let index = Index::new(blocks.iter().cloned().zip((0..).map(ValueId)));
        for text in
            ["10.1.2.3", "10.1.2.2", "10.200.0.1", "11.0.0.1", "2001:db8::5", "2001:db9::", "::1", "::ffff:10.1.2.3"]
        {
            let Ok(address) = text.parse() else { continue };
            let expected: Vec<_> = (0..)
                .map(ValueId)
                .zip(&blocks)
                .filter(|(_, block)| block.contains(address))
                .map(|(id, _)| id)
                .collect();
            let mut found = Matched::new();
            index.lookup(Some(address), &mut found);
            found.sort();
            assert_eq!(found.to_vec(), expected, "{text}");
            assert!(!expected.is_empty());
        }
    }

    #[test]
    fn rows() {
        for (text, written) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("2001:DB8::/32", "2001:db8::/32")]
        {
            assert_eq!(IpBlock::parse(text).map(|block| block.to_string()).as_deref(), Ok(written));
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "010.0.0.0/8", "x", "", "10.0.0.0/", "::/129"] {
            assert!(IpBlock::parse(text).is_err(), "{text}");
        }
    }
}
