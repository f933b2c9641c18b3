//! `ports`: on which ports of a host, and by which way there.

use std::fmt;

use crate::collections::map::Table;
use crate::egress::request::Access;
use crate::matcher::value_ids::{Matched, ValueId};

/// By which ways a port may be reached. A tunnel shows nothing of what goes through it, so whoever may speak HTTP or
/// TLS with a port may also open a tunnel to it, as ambient workloads do with all that they send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    Any,
    HttpOrConnect,
    ConnectOrTls,
}

impl Via {
    fn accesses(self) -> &'static [Access] {
        match self {
            Self::Any => &[Access::Http, Access::Connect, Access::Tls],
            Self::HttpOrConnect => &[Access::Http, Access::Connect],
            Self::ConnectOrTls => &[Access::Connect, Access::Tls],
        }
    }
}

/// One port that a rule lists, or what it means by listing none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PortPattern {
    /// The usual port of each way: 80 for plain HTTP, 443 for CONNECT and TLS.
    Usual,
    Number {
        port: u16,
        via: Via,
    },
}

impl PortPattern {
    /// The ways and ports that it stands for.
    fn targets(self) -> impl Iterator<Item = (Access, u16)> {
        let (accesses, number) = match self {
            Self::Usual => (Via::Any.accesses(), None),
            Self::Number { port, via } => (via.accesses(), Some(port)),
        };
        accesses.iter().map(move |access| (*access, number.unwrap_or(access.usual_port())))
    }

    #[cfg(test)]
    pub(crate) fn matches(self, access: Access, port: u16) -> bool {
        match self {
            Self::Usual => port == if access == Access::Http { 80 } else { 443 },
            Self::Number { port: listed, via } => {
                port == listed
                    && match via {
                        Via::Any => true,
                        Via::HttpOrConnect => access != Access::Tls,
                        Via::ConnectOrTls => access != Access::Http,
                    }
            }
        }
    }
}

impl fmt::Display for PortPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual => f.write_str("80 for HTTP, 443 for CONNECT and TLS"),
            Self::Number { port, via: Via::Any } => port.fmt(f),
            Self::Number { port, via: Via::HttpOrConnect } => write!(f, "{port} by HTTP or CONNECT"),
            Self::Number { port, via: Via::ConnectOrTls } => write!(f, "{port} by CONNECT or TLS"),
        }
    }
}

/// Ports by way and number.
pub(crate) struct PortIndex(Table<(Access, u16), Matched>);

impl PortIndex {
    pub(crate) fn new(ports: impl Iterator<Item = (PortPattern, ValueId)>) -> Self {
        let mut index: Table<_, Matched> = Table::default();
        for (pattern, id) in ports {
            for target in pattern.targets() {
                index.change(target, Matched::new, |ids| ids.push(id));
            }
        }
        Self(index)
    }

    /// Adds at most one entry for each [`Via`], and the usual one.
    pub(crate) fn lookup(&self, access: Access, port: u16, matched: &mut Matched) {
        if let Some(ids) = self.0.get(&(access, port)) {
            matched.extend_from_slice(ids);
        }
    }
}
