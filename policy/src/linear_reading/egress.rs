//! Hosts and ports of egress rules.

use crate::egress::authority::Host;
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::port::{PortPattern, ProtocolSet};
use crate::egress::request::EgressProtocol;
use crate::linear_reading::matches::Matches;

impl Matches<Host> for DestinationPattern {
    fn matches(&self, host: &Host) -> bool {
        let (any_depth, labels) = match self {
            Self::Exactly(known) => return known == host,
            Self::Labels { any_depth, labels } => (*any_depth, labels),
        };
        let Host::Name(name) = host else { return false };
        let given: Vec<_> = name.as_str().split('.').collect();
        let Some(before) = given.len().checked_sub(labels.len()) else { return false };
        let (open, fixed) = given.split_at(before);
        (open.is_empty() != any_depth)
            && open.iter().all(|label| !label.contains('_'))
            && fixed.iter().zip(labels).all(|(given, label)| match label {
                Some(label) => *given == &**label,
                None => !given.contains('_'),
            })
    }
}

impl Matches<(EgressProtocol, u16)> for PortPattern {
    fn matches(&self, (protocol, port): &(EgressProtocol, u16)) -> bool {
        match *self {
            Self::DefaultPort => *port == if *protocol == EgressProtocol::Http { 80 } else { 443 },
            Self::Number { port: listed, protocols } => {
                *port == listed
                    && match protocols {
                        ProtocolSet::Any => true,
                        ProtocolSet::HttpOrConnect => *protocol != EgressProtocol::Tls,
                        ProtocolSet::ConnectOrTls => *protocol != EgressProtocol::Http,
                    }
            }
        }
    }
}
