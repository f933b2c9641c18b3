//! Reasons of denials, as values.

use crate::authz::engine::rule_set::RuleDenial;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::egress::authority::InvalidAuthority;
use crate::identity::error::EvalError;

/// Why a request does not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressDenial<'p> {
    /// What it names is not one host in its one spelling.
    InvalidAuthority(InvalidAuthority),
    /// A connection that passes through is not TLS, or its TLS names no server.
    NoServerName,
    /// CONNECT has to name a port.
    NoPort,
    /// Its TLS is for another server than the request.
    ServerNameDiffers,
    /// This DENY rule matches.
    Matched(&'p RuleName),
    /// No ALLOW rule matches.
    NoRuleMatches,
    /// It cannot be decided.
    Undecidable(EvalError),
}

impl EgressDenial<'_> {
    /// `%RESPONSE_CODE_DETAILS%`, in the form of Envoy's own RBAC filter.
    pub fn details(&self) -> String {
        match self {
            Self::Matched(rule) => format!("egress_access_denied_matched_policy[{rule}]"),
            _ => "egress_access_denied_matched_policy[none]".to_owned(),
        }
    }

    /// Whether the proxy failed to say what the decision needs.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Undecidable(EvalError::AttributeUnavailable(_)))
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
