//! Reasons of denials by policies, as values.

use crate::authz::decision::Decision;
use crate::authz::engine::rule_set::RuleDenial;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::identity::error::EvalError;

/// Decision with its audit mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'p> {
    /// The answer.
    pub decision: Decision<Denial<'p>>,
    /// The first AUDIT rule that matches, whatever the answer is.
    pub audit: Option<&'p RuleName>,
}

/// Reason for a denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial<'p> {
    /// Rule of a DENY policy that matches.
    Matched(&'p RuleName),
    /// There are ALLOW policies for this workload, and none of them matches.
    NoAllowMatches,
    /// There is no ALLOW policy for this workload, and `defaultAction` is DENY.
    DefaultAction,
    /// PeerAuthentication that requires a validated certificate, which the connection lacks.
    MtlsRequired(&'p PolicyName),
    /// Error that prevents a decision.
    Undecidable(EvalError),
}

impl Denial<'_> {
    /// `%RESPONSE_CODE_DETAILS%` in the words of Envoy's own RBAC filter, with `rbac` for `filter`, so that searches and
    /// dashboards that people have go on working. Other filters put their own word there.
    pub fn details(&self, filter: &str) -> String {
        match self {
            Self::Matched(rule) => format!("{filter}_access_denied_matched_policy[{rule}]"),
            Self::MtlsRequired(name) => format!("{filter}_access_denied_matched_policy[{}]", name.bracketed()),
            Self::NoAllowMatches | Self::DefaultAction | Self::Undecidable(_) => {
                format!("{filter}_access_denied_matched_policy[none]")
            }
        }
    }

    /// Reports whether the proxy failed to supply an attribute that the decision needs.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Undecidable(EvalError::AttributeUnavailable(_)))
    }

    /// The policy that matched, if one did.
    pub fn policy(&self) -> Option<&PolicyName> {
        match self {
            Self::Matched(rule) => Some(rule.policy()),
            Self::MtlsRequired(name) => Some(name),
            Self::NoAllowMatches | Self::DefaultAction | Self::Undecidable(_) => None,
        }
    }
}

impl<'p> From<RuleDenial<'p>> for Denial<'p> {
    fn from(denial: RuleDenial<'p>) -> Self {
        match denial {
            RuleDenial::Matched(rule) => Self::Matched(rule),
            RuleDenial::NoAllowMatches => Self::NoAllowMatches,
            RuleDenial::DefaultAction => Self::DefaultAction,
        }
    }
}

impl From<EvalError> for Denial<'_> {
    fn from(error: EvalError) -> Self {
        Self::Undecidable(error)
    }
}
