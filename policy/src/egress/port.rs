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
}

impl ProtocolSet {
    fn members(self) -> &'static [EgressProtocol] {
        match self {
            Self::Any => &[EgressProtocol::Http, EgressProtocol::Connect, EgressProtocol::Tls],
            Self::HttpOrConnect => &[EgressProtocol::Http, EgressProtocol::Connect],
            Self::ConnectOrTls => &[EgressProtocol::Connect, EgressProtocol::Tls],
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
}

impl PortPattern {
    /// Returns the protocols and ports of the pattern.
    fn targets(self) -> impl Iterator<Item = (EgressProtocol, u16)> {
        let (protocols, number) = match self {
            Self::DefaultPort => (ProtocolSet::Any.members(), None),
            Self::Number { port, protocols } => (protocols.members(), Some(port)),
        };
        protocols.iter().map(move |protocol| (*protocol, number.unwrap_or(protocol.default_port())))
    }
}

impl fmt::Display for PortPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultPort => f.write_str("80 for HTTP, 443 for CONNECT and TLS"),
            Self::Number { port, protocols: ProtocolSet::Any } => port.fmt(f),
            Self::Number { port, protocols: ProtocolSet::HttpOrConnect } => write!(f, "{port} by HTTP or CONNECT"),
            Self::Number { port, protocols: ProtocolSet::ConnectOrTls } => write!(f, "{port} by CONNECT or TLS"),
        }
    }
}

/// Ports by protocol and number.
pub(crate) struct PortIndex(OrderedMap<(EgressProtocol, u16), Matched>);

impl PortIndex {
    pub(crate) fn new(ports: impl Iterator<Item = (PortPattern, ValueId)>) -> Self {
        let mut index: OrderedMap<_, Matched> = OrderedMap::default();
        for (pattern, id) in ports {
            for target in pattern.targets() {
                index.entry_or_insert_with(target, Matched::new, |ids| ids.push(id));
            }
        }
        Self(index)
    }

    /// Adds at most one entry for each [`ProtocolSet`], and the usual one.
    pub(crate) fn lookup(&self, protocol: EgressProtocol, port: u16, matched: &mut Matched) {
        if let Some(ids) = self.0.get(&(protocol, port)) {
            matched.extend_from_slice(ids);
        }
    }
}
