//! Hosts and ports of egress rules.

use crate::egress::authority::Host;
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::port::{PortPattern, ProtocolSet};
use crate::egress::request::EgressProtocol;
use crate::linear_reading::matches::Matches;

impl Matches<Host> for DestinationPattern {
    fn matches(&self, host: &Host) -> bool {
        if let Self::Exactly(known) = self {
            return known == host;
        }
        let Host::Name(name) = host else { return false };
        let (any_depth, labels, underscores) = match self {
            Self::Exactly(_) | Self::AnyName => return true,
            Self::Glob(glob) => return glob.matches(name.as_str().as_bytes()),
            Self::Labels { any_depth, labels, underscores } => (*any_depth, labels, *underscores),
        };
        let stands_for = |label: &str| underscores || !label.contains('_');
        let given: Vec<_> = name.as_str().split('.').collect();
        let Some(before) = given.len().checked_sub(labels.len()) else { return false };
        let (open, fixed) = given.split_at(before);
        (open.is_empty() != any_depth)
            && open.iter().all(|label| stands_for(label))
            && fixed.iter().zip(labels).all(|(given, label)| match label {
                Some(label) => *given == &**label,
                None => stands_for(given),
            })
    }
}

impl Matches<(EgressProtocol, u16)> for PortPattern {
    fn matches(&self, (protocol, port): &(EgressProtocol, u16)) -> bool {
        let (is_listed, protocols) = match *self {
            Self::DefaultPort => return *port == if *protocol == EgressProtocol::Http { 80 } else { 443 },
            Self::Number { port: listed, protocols } => (*port == listed, protocols),
            Self::Range { first, last, protocols } => ((first..=last).contains(port), protocols),
        };
        is_listed
            && match protocols {
                ProtocolSet::Any => true,
                ProtocolSet::HttpOrConnect => *protocol != EgressProtocol::Tls,
                ProtocolSet::ConnectOrTls => *protocol != EgressProtocol::Http,
                ProtocolSet::TlsAlone => matches!(protocol, EgressProtocol::Connect | EgressProtocol::Tls),
            }
    }
}
