//! Reasons of denials by policies, as values.

use std::fmt;

use crate::authz::decision::Decision;
use crate::authz::engine::rule_set::RuleDenial;
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::config::printable::{printable, printable_text};
use crate::identity::error::EvalError;

/// Decision with its audit mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'p> {
    /// The answer.
    pub decision: Decision<Denial<'p>>,
    /// The first AUDIT rule that matches, whatever the answer is.
    pub audit: Option<&'p RuleName>,
    /// The first ALLOW rule that matches an allowed request, if the policy was made to name it.
    pub allowed_by: Option<&'p RuleName>,
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
    /// CUSTOM policy applies, and nothing says that its authorizer was asked.
    Custom(CustomDenial<'p>),
    /// Error that prevents a decision.
    Undecidable(EvalError),
}

/// Reason why a request that a CUSTOM policy may match is denied. Each comes from the settings of the proxy, which its
/// text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomDenial<'p> {
    /// No mark; one of the policies that apply.
    NoMark(Option<&'p PolicyName>),
    /// Mark that is no list of providers of `customProviders`.
    InvalidMark(Vec<u8>),
    /// Mark that lacks the provider of a policy that matches.
    NotAsked {
        /// Rule that matches.
        rule: &'p RuleName,
        /// Provider of its policy.
        provider: &'p str,
    },
    /// TCP connection, which no authorizer of HTTP requests is asked about; one of the policies that apply.
    Connection(Option<&'p PolicyName>),
}

impl fmt::Display for CustomDenial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMark(policy) => {
                f.write_str("no mark")?;
                policy.map_or(Ok(()), |policy| write!(f, " for the CUSTOM policy {policy}"))?;
                f.write_str(
                    "; put an instance of this filter with stage: custom before ext_authz, and ext_authz before this one",
                )
            }
            Self::InvalidMark(mark) => write!(
                f,
                "the mark `{}` is no list of providers of customProviders; give the instance with stage: custom the same \
                 customProviders",
                printable(mark)
            ),
            Self::NotAsked { rule, provider } => write!(
                f,
                "CUSTOM policy {} matches with rule {} and the mark does not name its provider {}; give the instance \
                 with stage: custom the same workload and resources, and put filters that change requests before it",
                rule.policy(),
                rule.label(),
                printable_text(provider)
            ),
            Self::Connection(Some(policy)) => {
                write!(f, "CUSTOM policy {policy} applies, and is for HTTP; put this filter into http_filters")
            }
            Self::Connection(None) => f.write_str("stage: custom is for HTTP; put this filter into http_filters"),
        }
    }
}

impl Denial<'_> {
    /// `%RESPONSE_CODE_DETAILS%` in the words of Envoy's own RBAC filter, with `rbac` for `filter`, so that searches and
    /// dashboards that people have go on working. Other filters put their own word there.
    pub fn details(&self, filter: &str) -> String {
        match self {
            Self::Matched(rule) => format!("{filter}_access_denied_matched_policy[{rule}]"),
            Self::MtlsRequired(name) => format!("{filter}_access_denied_matched_policy[{}]", name.bracketed()),
            Self::NoAllowMatches | Self::DefaultAction | Self::Custom(_) | Self::Undecidable(_) => {
                format!("{filter}_access_denied_matched_policy[none]")
            }
        }
    }

    /// Reports whether the proxy failed to supply an attribute that the decision needs.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Undecidable(EvalError::AttributeUnavailable(_)))
    }

    /// Reports whether the request is denied since no ALLOW policy matches.
    pub fn is_unmatched(&self) -> bool {
        matches!(self, Self::NoAllowMatches | Self::DefaultAction)
    }

    /// The policy that matched, if one did.
    pub fn policy(&self) -> Option<&PolicyName> {
        match self {
            Self::Matched(rule) => Some(rule.policy()),
            Self::MtlsRequired(name) => Some(name),
            Self::NoAllowMatches | Self::DefaultAction | Self::Custom(_) | Self::Undecidable(_) => None,
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
