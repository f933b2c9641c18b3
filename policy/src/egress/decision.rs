//! Reasons of denials, as values.

use crate::authz::engine::rule_set::RuleDenial;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::egress::authority::InvalidAuthority;
use crate::egress::tunnel::TunnelFault;
use crate::identity::error::EvalError;

/// Reason for a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressDenial<'p> {
    /// Authority that is not one host in canonical form.
    InvalidAuthority(InvalidAuthority),
    /// A connection that passes through is not TLS, or its TLS names no server.
    NoServerName,
    /// CONNECT has to name a port.
    NoPort,
    /// SNI that differs from the request's host.
    ServerNameDiffers,
    /// The bytes that the client sends inside a tunnel are not for its host.
    Tunnel(TunnelFault),
    /// The client has this many connections open, which is the most.
    TooManyConnections(u32),
    /// The proxy did not take the host that the address leads to, for this reason.
    Unled(&'static str),
    /// DENY rule that matches.
    Matched(&'p RuleName),
    /// No ALLOW rule matches.
    NoRuleMatches,
    /// Error that prevents a decision.
    Undecidable(EvalError),
}

impl EgressDenial<'_> {
    /// `%RESPONSE_CODE_DETAILS%`, in the form of Envoy's own RBAC filter.
    pub fn details(&self) -> String {
        match self {
            Self::Matched(rule) => format!("egress_access_denied_matched_policy[{rule}]"),
            Self::TooManyConnections(_) => "egress_access_denied_too_many_connections".to_owned(),
            _ => "egress_access_denied_matched_policy[none]".to_owned(),
        }
    }

    /// Reports whether the proxy failed to supply an attribute that the decision needs.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Unled(_) | Self::Undecidable(EvalError::AttributeUnavailable(_)))
    }

    /// Reports whether no ALLOW rule matches.
    pub fn is_unmatched(&self) -> bool {
        matches!(self, Self::NoRuleMatches)
    }

    /// The rule that matched, as the policy that counters and filter state name; those of `rules` are in `rules`.
    pub fn policy(&self) -> Option<&PolicyName> {
        match self {
            Self::Matched(rule) => Some(rule.policy()),
            _ => None,
        }
    }
}

impl<'p> From<RuleDenial<'p>> for EgressDenial<'p> {
    fn from(denial: RuleDenial<'p>) -> Self {
        match denial {
            RuleDenial::Matched(rule) => Self::Matched(rule),
            RuleDenial::NoAllowMatches | RuleDenial::DefaultAction => Self::NoRuleMatches,
        }
    }
}

impl From<EvalError> for EgressDenial<'_> {
    fn from(error: EvalError) -> Self {
        Self::Undecidable(error)
    }
}
