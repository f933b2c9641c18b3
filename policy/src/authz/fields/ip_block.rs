//! `source.ipBlocks`, `source.remoteIpBlocks` and the keys `source.ip`, `remote.ip` and `destination.ip`: the addresses
//! of a connection.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldIndex, FieldValues, MatchField};
use crate::authz::fields::reader::{ConditionReader, FieldContext, FieldReader};
use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;
use crate::config::error_code::ErrorCode;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::identity::error::{AttributeError, EvalError};
use crate::identity::settings::REMOTE_ADDRESS;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::{Matched, ValueId};

/// A network: addresses of one family that begin with the same bits.
///
/// An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) is IPv4, and so is a block of them. An IPv6 block shorter
/// than /96 holds no IPv4 address, though it holds the bits of mapped ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IpBlock {
    family: Family,
    /// The bits of the address, from the highest of 128.
    first: u128,
    /// Prefix length in bits.
    bits: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// Prefix length of the IPv4-mapped IPv6 addresses.
const MAPPED: u8 = 96;

/// Shift in bits that moves an IPv4 address to the top of 128 bits.
const BELOW_V4: u32 = 96;

fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX << (128 - u32::from(bits.min(128))),
    }
}

fn of_address(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (Family::V4, u128::from(address.to_bits()) << BELOW_V4),
        IpAddr::V6(address) => (Family::V6, address.to_bits()),
    }
}

impl IpBlock {
    /// Parses an address or a CIDR. Bits beyond the prefix are dropped, as Envoy does; one of IPv4-mapped addresses is
    /// IPv4 from /96 on.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let bad =
            || format!("bad IP block `{text}`: expected an address or a CIDR, as in `10.0.0.0/8` or `2001:db8::/32`");
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match length {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse::<u8>().ok().filter(|length| *length <= most)
            }
            Some(_) => None,
            None => Some(most),
        };
        let bits = bits.ok_or_else(bad)?;
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped().filter(|v4| bits <= 32 && !v4.is_unspecified())
        {
            return Err(format!(
                "bad IP block `{text}`: an IPv6 block shorter than /96 holds no IPv4 address, write `{v4}/{bits}`"
            ));
        }
        let (family, first, bits) = match (of_address(address), address, bits.checked_sub(MAPPED)) {
            ((Family::V4, first), IpAddr::V6(_), Some(bits)) => (Family::V4, first, bits),
            ((Family::V4, _), IpAddr::V6(address), None) => (Family::V6, address.to_bits(), bits),
            ((family, first), ..) => (family, first, bits),
        };
        Ok(Self { family, first: first & mask(bits), bits })
    }

    /// Reports whether the block holds one address alone.
    pub(crate) fn is_address(self) -> bool {
        let bits = match self.family {
            Family::V4 => 128 - MAPPED,
            Family::V6 => 128,
        };
        self.bits == bits
    }

    /// Returns the bytes that identify the block.
    fn key(self) -> [u8; 18] {
        let mut key = [0; 18];
        let (head, address) = key.split_at_mut(2);
        head.copy_from_slice(&[self.family as u8, self.bits]);
        address.copy_from_slice(&self.first.to_be_bytes());
        key
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::V4 => {
                let address = u32::try_from(self.first >> BELOW_V4).map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from_bits);
                write!(f, "{address}/{}", self.bits)
            }
            Family::V6 => write!(f, "{}/{}", Ipv6Addr::from_bits(self.first), self.bits),
        }
    }
}

/// Networks by family, length and first address: a lookup for each length that is listed, at most 33 or 129.
pub(crate) struct Index {
    lengths: Vec<(Family, u8)>,
    blocks: OrderedMap<Box<[u8]>, ValueId>,
}

impl Index {
    pub(crate) fn new(blocks: impl Iterator<Item = (IpBlock, ValueId)>) -> Self {
        let (mut lengths, mut by_key) = (Vec::new(), OrderedMap::default());
        for (block, id) in blocks {
            lengths.push((block.family, block.bits));
            by_key.insert(Box::from(block.key()), id);
        }
        sort_by(&mut lengths, Ord::cmp);
        lengths.dedup();
        Self { lengths, blocks: by_key }
    }

    pub(crate) fn lookup(&self, address: Option<IpAddr>, matched: &mut Matched) {
        let Some((family, address)) = address.map(of_address) else { return };
        let lengths = self.lengths.iter().filter(|(of, _)| *of == family).map(|(_, bits)| *bits);
        let blocks = lengths.map(|bits| IpBlock { family, first: address & mask(bits), bits });
        matched.extend(blocks.filter_map(|block| self.blocks.get(block.key().as_slice())).copied());
    }
}

impl Index {
    fn new_boxed<A: AddressField>(patterns: Vec<(IpBlock, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(AddressIndex {
            blocks: Self::new(patterns.into_iter()),
            address: A::address,
            preposition: A::PREPOSITION,
        })
    }
}

type ReadAddress = fn(&mut dyn Request) -> Result<Option<IpAddr>, AttributeError>;

struct AddressIndex {
    blocks: Index,
    address: ReadAddress,
    preposition: &'static str,
}

impl FieldIndex for AddressIndex {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        self.blocks.lookup((self.address)(request)?, &mut found.any);
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        let address = (self.address)(request).ok().flatten()?;
        Some(format!("{} {address}", self.preposition))
    }
}

/// Address of a connection that a field compares.
trait AddressField {
    const PREPOSITION: &'static str;

    fn address(request: &mut dyn Request) -> Result<Option<IpAddr>, AttributeError>;
}

/// Declares the field of an address. Its value can change while a connection lasts, as QUIC's do.
macro_rules! address_field {
    ($(#[$doc:meta])* $name:ident, $rank:literal, $subject:literal, $preposition:literal, $attribute:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name;

        impl AddressField for $name {
            const PREPOSITION: &'static str = $preposition;

            fn address(request: &mut dyn Request) -> Result<Option<IpAddr>, AttributeError> {
                request.$attribute()
            }
        }

        impl MatchField for $name {
            type Pattern = IpBlock;

            const RANK: u8 = $rank;

            fn subject(&self) -> Cow<'static, str> {
                $subject.into()
            }

            fn index(self, patterns: Vec<(IpBlock, ValueId)>) -> Box<dyn FieldIndex> {
                Index::new_boxed::<Self>(patterns)
            }
        }

        impl $name {
            fn read(node: &ConfigNode<'_>, _: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
                Some(FieldValues::shared(Self, read_values(node, IpBlock::parse)?))
            }
        }
    };
}

address_field! {
    /// Address of the connection's peer, independent of headers.
    SourceIp, 20, "source address in", "from", source_ip
}
address_field! {
    /// The address of the client as the proxy determines it, by `X-Forwarded-For` or the PROXY protocol.
    RemoteIp, 21, "remote address in", "from", remote_ip
}
address_field! {
    /// The address that the connection was made to, on the proxy's side.
    DestinationIp, 22, "destination address in", "to", destination_ip
}

/// Reads the values of [`RemoteIp`] if the configuration has `remoteAddress: trusted`.
fn read_remote(node: &ConfigNode<'_>, context: &FieldContext<'_>) -> Option<Rc<dyn AnyFieldValues>> {
    if !context.trusts_remote_address {
        node.error_as(
            ErrorCode::UntrustedAddress,
            format!("compares the client's address, and {REMOTE_ADDRESS}, or use ipBlocks"),
        );
        return None;
    }
    RemoteIp::read(node, context)
}

/// `source.ipBlocks` and `source.notIpBlocks`.
pub(crate) const SOURCE: FieldReader = FieldReader { keys: ["ipBlocks", "notIpBlocks"], read: SourceIp::read };

/// `source.remoteIpBlocks` and `source.notRemoteIpBlocks`.
pub(crate) const REMOTE_SOURCE: FieldReader =
    FieldReader { keys: ["remoteIpBlocks", "notRemoteIpBlocks"], read: read_remote };

/// `when` on `source.ip`.
pub(crate) const SOURCE_CONDITION: ConditionReader = ConditionReader { key: "source.ip", read: SourceIp::read };

/// `when` on `remote.ip`.
pub(crate) const REMOTE_CONDITION: ConditionReader = ConditionReader { key: "remote.ip", read: read_remote };

/// `when` on `destination.ip`.
pub(crate) const DESTINATION_CONDITION: ConditionReader =
    ConditionReader { key: "destination.ip", read: DestinationIp::read };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn the_index_agrees_with_each_block() {
        let texts = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.2.3",
            "10.1.0.0/16",
            "::/0",
            "2001:db8::/32",
            "::1",
            "10.1.2.3/31",
            "::ffff:10.0.0.0/105",
            "::ffff:0:0/97",
            "::ffff:10.1.2.2",
            "::ffff:10.1.2.3/90",
            "::ffff:0:0/95",
        ];
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
                .filter(|(_, block)| block.matches(&address))
                .map(|(id, _)| id)
                .collect();
            let mut found = Matched::new();
            index.lookup(Some(address), &mut found);
            found.sort();
            assert_eq!(found.to_vec(), expected, "{text}");
        }
    }

    #[test]
    fn a_block_holds_addresses_of_its_own_family() {
        let rows = [
            ("::/0", "10.1.2.3", false),
            ("::/0", "2001:db8::5", true),
            ("0.0.0.0/0", "10.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::5", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:a01:203", true),
            ("10.0.0.0/8", "::10.1.2.3", false),
            ("::ffff:0:0/96", "10.1.2.3", true),
            ("::ffff:0:0/96", "::ffff:10.1.2.3", true),
            ("::ffff:10.1.2.3", "10.1.2.3", true),
            ("::ffff:10.1.2.3/128", "10.1.2.4", false),
            ("::ffff:10.1.2.3/104", "10.9.9.9", true),
            ("::ffff:10.1.2.3/104", "11.9.9.9", false),
            ("::ffff:0:0/95", "10.1.2.3", false),
            ("::ffff:0:0/95", "::fffe:10.1.2.3", true),
            ("::/0", "::ffff:10.1.2.3", false),
        ];
        for (block, address, expected) in rows {
            let held = IpBlock::parse(block).ok().zip(address.parse().ok()).map(|(block, ip)| block.matches(&ip));
            assert_eq!(held, Some(expected), "{address} in {block}");
        }
    }

    #[test]
    fn rows() {
        for (text, written) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::FFFF:10.1.2.3", "10.1.2.3/32"),
        ] {
            assert_eq!(IpBlock::parse(text).map(|block| block.to_string()).as_deref(), Ok(written));
        }
        for text in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "010.0.0.0/8", "x", "", "10.0.0.0/", "::/129"] {
            assert!(IpBlock::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            IpBlock::parse("::ffff:10.0.0.0/8"),
            Err("bad IP block `::ffff:10.0.0.0/8`: an IPv6 block shorter than /96 holds no IPv4 address, write `10.0.0.0/8`".to_owned())
        );
    }
}
