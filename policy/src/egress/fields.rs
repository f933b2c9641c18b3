//! The match fields of `egress-allowlist`: the destination's host and port, and the source.

use std::borrow::Cow;

use crate::attributes::request::Request;
use crate::authz::engine::field::{FieldIndex, MatchField};
use crate::authz::fields::reader::Registry;
use crate::authz::fields::{ip_block, namespace, principal, service_account, trust_domain};
use crate::egress::authority::Host;
use crate::egress::host_index::DestinationIndex;
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::outbound::Destination;
use crate::egress::port::{PortIndex, PortPattern};
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::ValueId;

const TOKENS: &str = "what leaves carries tokens for others, use principals";

/// The fields of a rule's `from[].source`.
pub(crate) static SOURCE_FIELDS: Registry = Registry {
    source: &[
        principal::SOURCE,
        namespace::SOURCE,
        service_account::SOURCE,
        trust_domain::SOURCE,
        ip_block::SOURCE,
        ip_block::REMOTE_SOURCE,
    ],
    rejected_source: &[("requestPrincipals", TOKENS), ("notRequestPrincipals", TOKENS)],
    rejects_service_accounts_beside_principals: false,
    operation: &[],
    conditions: &[],
    named_conditions: &[],
};

/// The host of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationHost;

impl DestinationHost {
    pub(crate) const RANK: u8 = 0;
}

impl MatchField for DestinationHost {
    type Pattern = DestinationPattern;

    const RANK: u8 = Self::RANK;

    fn subject(&self) -> Cow<'static, str> {
        "host".into()
    }

    fn is_short(pattern: &DestinationPattern) -> bool {
        matches!(pattern, DestinationPattern::Glob(glob) if glob.is_short())
    }

    fn index(self, patterns: Vec<(DestinationPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(DestinationIndex::new(patterns.into_iter()))
    }
}

impl FieldIndex for DestinationIndex {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        let Destination { host, address, .. } = destination(request)?;
        DestinationIndex::lookup(self, host, &mut found.any);
        if let Some(address) = address {
            // What lets out compares the host that the address leads to; what keeps in compares both.
            found.each = Box::new([found.any.clone()]);
            DestinationIndex::lookup(self, &Host::Address(*address), &mut found.any);
        }
        Ok(())
    }
}

/// The port of the destination, with the protocol there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationPort;

impl MatchField for DestinationPort {
    type Pattern = PortPattern;

    const RANK: u8 = 1;

    fn subject(&self) -> Cow<'static, str> {
        "port".into()
    }

    fn index(self, patterns: Vec<(PortPattern, ValueId)>) -> Box<dyn FieldIndex> {
        Box::new(PortIndex::new(patterns.into_iter()))
    }
}

impl FieldIndex for PortIndex {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        let Destination { protocol, port, .. } = destination(request)?;
        PortIndex::lookup(self, *protocol, *port, &mut found.any);
        Ok(())
    }
}

fn destination(request: &dyn Request) -> Result<&Destination, AttributeError> {
    let unknown = AttributeError { attribute: "the destination", status: "it is not known here" };
    Destination::of(request).ok_or(unknown)
}
