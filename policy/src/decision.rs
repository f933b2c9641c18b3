//! The answer to one request, as a value: replies, log lines and counters are made from it, elsewhere.

use std::fmt;
use std::rc::Rc;

use crate::request::Obstacle;
use crate::resource::PolicyName;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'p> {
    /// It goes on.
    Allow,
    /// It goes on, and would not if everything that is only reported were enforced.
    WouldDeny(Denial<'p>),
    /// It is turned away.
    Deny(Denial<'p>),
}

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial<'p> {
    /// This rule of a DENY policy matches.
    Matched(&'p RuleName),
    /// There are ALLOW policies for this workload, and none of them matches.
    NoAllowMatches,
    /// There is no ALLOW policy for this workload, and `defaultAction` is DENY.
    DefaultAction,
    /// This PeerAuthentication requires a validated certificate, and the connection has none.
    NotMutualTls(&'p PolicyName),
    /// It cannot be decided.
    Undecidable(Obstacle),
}

impl Denial<'_> {
    /// `%RESPONSE_CODE_DETAILS%` in the words of Envoy's own RBAC filter, with `rbac` for `filter`, so that searches and
    /// dashboards that people have go on working. Other filters put their own word there.
    pub fn details(&self, filter: &str) -> String {
        match self {
            Self::Matched(rule) => format!("{filter}_access_denied_matched_policy[{rule}]"),
            Self::NotMutualTls(name) => format!("{filter}_access_denied_matched_policy[{}]", name.bracketed()),
            Self::NoAllowMatches | Self::DefaultAction | Self::Undecidable(_) => {
                format!("{filter}_access_denied_matched_policy[none]")
            }
        }
    }

    /// Whether the proxy failed to say what the decision needs.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Undecidable(Obstacle::Host(_)))
    }

    /// The policy that matched, if one did.
    pub fn policy(&self) -> Option<&PolicyName> {
        match self {
            Self::Matched(rule) => Some(&rule.policy),
            Self::NotMutualTls(name) => Some(name),
            Self::NoAllowMatches | Self::DefaultAction | Self::Undecidable(_) => None,
        }
    }
}

/// A rule of a policy, written as Istio names it: `ns[shop]-policy[no-deletes]-rule[0]`. A pattern of a built-in list is
/// a rule named after its tool: `preset[scanners]-rule[sqlmap]`.
///
/// Ordered by that text, which is the order in which Envoy tries rules, so that the same one is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    /// Shared by all rules of the policy.
    policy: Rc<PolicyName>,
    label: RuleLabel,
}

/// What tells the rules of one policy apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleLabel {
    /// Its place in `spec.rules`, from 0.
    Number(usize),
    /// What it is about.
    Word(String),
}

impl RuleName {
    pub(crate) fn new(policy: impl Into<Rc<PolicyName>>, label: RuleLabel) -> Self {
        Self { policy: policy.into(), label }
    }

    /// The policy that it is of.
    pub fn policy(&self) -> &PolicyName {
        &self.policy
    }

    /// What its text ends with, behind its policy.
    pub(crate) fn text_in_policy(&self) -> String {
        format!("-rule[{}]", self.label())
    }

    /// The rule by itself: its number or its word.
    pub fn label(&self) -> String {
        match &self.label {
            RuleLabel::Number(number) => number.to_string(),
            RuleLabel::Word(word) => word.clone(),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy.bracketed())?;
        f.write_str(&self.text_in_policy())
    }
}
