//! The numbered steps of a decision, by walking every rule.

use crate::attributes::request::Request;
use crate::authz::engine::rule::{Action, DefaultAction, Dnf, Predicate};
use crate::authz::policy_name::RuleName;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::config::enforcement_mode::EnforcementMode;
use crate::linear_reading::answer::{LinearAnswer, LinearOutcome};
use crate::linear_reading::matches;
use crate::matcher::clause::Quantifier;

/// Truth of a condition, a clause or a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    No,
    /// An attribute that it compares cannot be known.
    Unknown,
    Yes,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// A rule, with whether it matches the request.
pub(crate) struct WalkedRule {
    pub(crate) name: String,
    pub(crate) action: Action,
    pub(crate) mode: EnforcementMode,
    pub(crate) holds: Truth,
    /// True if all of its conditions can be known.
    pub(crate) is_certain: bool,
}

/// Rules of one configuration in the order in which they are reported, and what decides where none matches.
pub(crate) struct Walk {
    pub(crate) rules: Vec<WalkedRule>,
    /// True if there is an ALLOW policy that is enforced, one without rules included.
    pub(crate) allow_is_enforced: bool,
    pub(crate) allow_is_reported: bool,
    pub(crate) default_action: DefaultAction,
    pub(crate) mode: EnforcementMode,
}

impl Walk {
    /// Walks the rules of policies.
    pub(crate) fn of_policies<'p>(
        policies: impl Iterator<Item = &'p AuthorizationPolicy>,
        default_action: DefaultAction,
        mode: EnforcementMode,
        request: &mut dyn Request,
    ) -> Self {
        let mut walk =
            Self { rules: Vec::new(), allow_is_enforced: false, allow_is_reported: false, default_action, mode };
        for policy in policies {
            if policy.action == Action::Allow {
                walk.allow_is_enforced |= policy.mode == EnforcementMode::Enforce;
                walk.allow_is_reported |= policy.mode == EnforcementMode::Report;
            }
            for (label, clauses) in policy.rule_labels().zip(&policy.rules) {
                let (holds, is_certain) = rule_holds(clauses, policy.action, request);
                walk.rules.push(WalkedRule {
                    name: RuleName::new(policy.name.clone(), label).to_string(),
                    action: policy.action,
                    mode: policy.mode,
                    holds,
                    is_certain,
                });
            }
        }
        walk.rules.sort_by(|one, other| one.name.cmp(&other.name));
        walk
    }

    /// Decides by the rules.
    pub(crate) fn answer(&self) -> LinearAnswer {
        let outcome = match self.enforced() {
            Some(rule) if self.mode == EnforcementMode::Report => LinearOutcome::WouldDeny(rule),
            Some(rule) => LinearOutcome::Deny(rule),
            None => self.reported().map_or(LinearOutcome::Allow, LinearOutcome::WouldDeny),
        };
        let audit = self.rules.iter().find(|rule| rule.action == Action::Audit && rule.holds == Truth::Yes);
        LinearAnswer {
            outcome,
            audit: audit.map(|rule| rule.name.clone()),
            is_certain: self.rules.iter().all(|rule| rule.is_certain),
        }
    }

    /// Denial by the enforced rules, with the rule that matches.
    fn enforced(&self) -> Option<Option<String>> {
        if let Some(rule) = self.first_deny(EnforcementMode::Enforce) {
            return Some(Some(rule));
        }
        let is_allowed = match self.allow_is_enforced {
            true => self.any_allow(EnforcementMode::Enforce),
            false => self.default_action == DefaultAction::Allow,
        };
        (!is_allowed).then_some(None)
    }

    /// Denial that is only reported, of a request that the enforced rules allow.
    fn reported(&self) -> Option<Option<String>> {
        if let Some(rule) = self.first_deny(EnforcementMode::Report) {
            return Some(Some(rule));
        }
        let decides = self.allow_is_reported && !self.allow_is_enforced;
        (decides && !self.any_allow(EnforcementMode::Report)).then_some(None)
    }

    fn first_deny(&self, mode: EnforcementMode) -> Option<String> {
        let denies = |rule: &&WalkedRule| rule.action == Action::Deny && rule.mode == mode && rule.holds != Truth::No;
        self.rules.iter().find(denies).map(|rule| rule.name.clone())
    }

    fn any_allow(&self, mode: EnforcementMode) -> bool {
        self.rules.iter().any(|rule| rule.action == Action::Allow && rule.mode == mode && rule.holds == Truth::Yes)
    }
}

/// Reports whether all conditions of one of a rule's clauses hold, and whether every one of them can be known.
pub(crate) fn rule_holds(clauses: &Dnf, action: Action, request: &mut dyn Request) -> (Truth, bool) {
    let mut is_certain = true;
    let mut clause_holds = |clause: &Vec<Predicate>| {
        let conditions = clause.iter().map(|predicate| holds(predicate, action, request));
        let truth = |truth: Truth| {
            is_certain &= truth != Truth::Unknown;
            truth
        };
        conditions.map(truth).min().unwrap_or(Truth::Yes)
    };
    let holds = clauses.iter().map(&mut clause_holds).max().unwrap_or(Truth::No);
    (holds, is_certain)
}

/// Reports whether one condition holds. Where a value has several readings, one that matches is enough to keep out, and
/// all have to match to let in.
fn holds(predicate: &Predicate, action: Action, request: &mut dyn Request) -> Truth {
    let lets_in = (action == Action::Allow) != predicate.negated;
    let of = if lets_in { Quantifier::All } else { Quantifier::Any };
    matches(&*predicate.values, request, of).map_or(Truth::Unknown, |matches| (matches != predicate.negated).into())
}
