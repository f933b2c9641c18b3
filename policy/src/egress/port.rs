//! `ports`: ports of a host, with their protocols.

use std::fmt;

use crate::collections::map::OrderedMap;
use crate::egress::request::EgressProtocol;
use crate::matcher::value_ids::{Matched, ValueId};

/// Protocols by which a port may be reached. A tunnel hides its content, so a client that may speak HTTP or
/// TLS with a port may also open a tunnel to it, as ambient workloads do for all traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProtocolSet {
    Any,
    HttpOrConnect,
    ConnectOrTls,
    /// As [`ConnectOrTls`](Self::ConnectOrTls), with TLS inside the tunnel.
    TlsAlone,
}

impl ProtocolSet {
    fn members(self) -> &'static [EgressProtocol] {
        match self {
            Self::Any => {
                &[EgressProtocol::Http, EgressProtocol::Connect, EgressProtocol::ConnectWithoutTls, EgressProtocol::Tls]
            }
            Self::HttpOrConnect => &[EgressProtocol::Http, EgressProtocol::Connect, EgressProtocol::ConnectWithoutTls],
            Self::ConnectOrTls => &[EgressProtocol::Connect, EgressProtocol::ConnectWithoutTls, EgressProtocol::Tls],
            Self::TlsAlone => &[EgressProtocol::Connect, EgressProtocol::Tls],
        }
    }
}

/// Port that a rule lists, or the default if it lists none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PortPattern {
    /// Default port of each protocol: 80 for plain HTTP, 443 for CONNECT and TLS.
    DefaultPort,
    Number {
        port: u16,
        protocols: ProtocolSet,
    },
    /// The first port of a range and its last.
    Range {
        first: u16,
        last: u16,
        protocols: ProtocolSet,
    },
}

impl PortPattern {
    /// Reports whether a tunnel to the port has to carry TLS.
    pub(crate) fn is_for_tls_alone(self) -> bool {
        match self {
            Self::DefaultPort => false,
            Self::Number { protocols, .. } | Self::Range { protocols, .. } => protocols == ProtocolSet::TlsAlone,
        }
    }

    /// Returns the protocols of the pattern, each with the first and the last port.
    fn targets(self) -> impl Iterator<Item = (EgressProtocol, u16, u16)> {
        let (protocols, range) = match self {
            Self::DefaultPort => (ProtocolSet::Any, None),
            Self::Number { port, protocols } => (protocols, Some((port, port))),
            Self::Range { first, last, protocols } => (protocols, Some((first, last))),
        };
        protocols.members().iter().map(move |protocol| {
            let (first, last) = range.unwrap_or((protocol.default_port(), protocol.default_port()));
            (*protocol, first, last)
        })
    }
}

impl fmt::Display for PortPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols = match *self {
            Self::DefaultPort => return f.write_str("80 for HTTP, 443 for CONNECT and TLS"),
            Self::Number { port, protocols } => {
                port.fmt(f)?;
                protocols
            }
            Self::Range { first, last, protocols } => {
                write!(f, "{first} to {last}")?;
                protocols
            }
        };
        f.write_str(match protocols {
            ProtocolSet::Any => "",
            ProtocolSet::HttpOrConnect => " by HTTP or CONNECT",
            ProtocolSet::ConnectOrTls | ProtocolSet::TlsAlone => " by CONNECT or TLS",
        })
    }
}

/// A block of 2^level ports: those that are `number` without their last `level` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Block {
    protocol: EgressProtocol,
    level: u8,
    number: u32,
}

/// The number of sizes that a block can have.
const LEVELS: u8 = 17;

/// Ports by protocol, each range as the fewest blocks that make it up: at most 30, so that a lookup costs the same
/// however many ranges there are.
#[derive(Default)]
pub(crate) struct PortIndex {
    blocks: OrderedMap<Block, Matched>,
    /// True for each size that a block has.
    levels: [bool; LEVELS as usize],
}

impl PortIndex {
    pub(crate) fn new(ports: impl Iterator<Item = (PortPattern, ValueId)>) -> Self {
        let mut index = Self::default();
        for (pattern, id) in ports {
            for (protocol, first, last) in pattern.targets() {
                index.insert(protocol, first, last, id);
            }
        }
        index
    }

    fn insert(&mut self, protocol: EgressProtocol, first: u16, last: u16, id: ValueId) {
        let (mut next, end) = (u32::from(first), u32::from(last) + 1);
        while next < end {
            // The largest block that begins here and does not reach beyond the end.
            let fits = |level: &u8| next % (1 << level) == 0 && next + (1 << level) <= end;
            let level = (0..LEVELS).rev().find(fits).unwrap_or_default();
            if let Some(used) = self.levels.get_mut(usize::from(level)) {
                *used = true;
            }
            let block = Block { protocol, level, number: next >> level };
            self.blocks.entry_or_insert_with(block, Matched::new, |ids| ids.push(id));
            next += 1 << level;
        }
    }

    /// Adds the entries for a port, each once.
    pub(crate) fn lookup(&self, protocol: EgressProtocol, port: u16, matched: &mut Matched) {
        for (level, _) in (0..LEVELS).zip(self.levels).filter(|(_, used)| *used) {
            let block = Block { protocol, level, number: u32::from(port) >> level };
            if let Some(ids) = self.blocks.get(&block) {
                matched.extend_from_slice(ids);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear_reading::Matches;

    #[test]
    fn finds_what_each_entry_by_itself_matches() {
        let range = |first, last, protocols| PortPattern::Range { first, last, protocols };
        let patterns = [
            PortPattern::DefaultPort,
            PortPattern::Number { port: 443, protocols: ProtocolSet::ConnectOrTls },
            PortPattern::Number { port: 443, protocols: ProtocolSet::TlsAlone },
            range(80, 8443, ProtocolSet::TlsAlone),
            range(1, 65_535, ProtocolSet::ConnectOrTls),
            range(80, 80, ProtocolSet::Any),
            range(1, 1023, ProtocolSet::HttpOrConnect),
            range(1000, 2000, ProtocolSet::Any),
            range(1023, 1025, ProtocolSet::Any),
            range(65_535, 65_535, ProtocolSet::Any),
            range(32_768, 65_535, ProtocolSet::Any),
            range(2, 65_534, ProtocolSet::Any),
        ];
        let index = PortIndex::new(patterns.into_iter().zip((0..).map(ValueId)));
        let protocols =
            [EgressProtocol::Http, EgressProtocol::Connect, EgressProtocol::ConnectWithoutTls, EgressProtocol::Tls];
        for protocol in protocols {
            for port in 1..=u16::MAX {
                let mut found = Matched::new();
                index.lookup(protocol, port, &mut found);
                found.sort();
                let matching = (0..).map(ValueId).zip(&patterns);
                let expected = matching.filter(|(_, pattern)| pattern.matches(&(protocol, port))).map(|(id, _)| id);
                assert_eq!(found.to_vec(), expected.collect::<Vec<_>>(), "{port}");
            }
        }
        let widest = PortIndex::new([(range(1, 65_534, ProtocolSet::HttpOrConnect), ValueId(0))].into_iter());
        assert!(widest.blocks.len() <= 3 * 30, "{}", widest.blocks.len());
    }
}
