//! AuthorizationPolicy for TCP connections, which have no HTTP-only fields.

use std::rc::Rc;

use crate::authz::engine::rule::{Action, Predicate};
use crate::authz::policy_name::{PolicyName, RuleName};
use crate::authz::resources::authorization_policy::AuthorizationPolicy;

/// End of the warning about an ALLOW rule.
pub(crate) const ALLOWS_NO_CONNECTION: &str = "this ALLOW rule allows no connection";

/// Returns the start of the warning about a rule.
pub(crate) fn warning_start(policy: &PolicyName, rule: &str) -> String {
    format!("{policy} rule {rule}: ")
}

impl AuthorizationPolicy {
    /// The policy for TCP connections where it differs, with a warning about each rule that differs.
    ///
    /// Follows Istio (1.31, `pilot/pkg/security/authz/model/model.go`): a rule with an HTTP-only field is dropped from an
    /// ALLOW policy; in other policies the field is dropped, so the rule matches more connections.
    pub(crate) fn for_connections(&self) -> Option<(Self, Vec<String>)> {
        let mut warnings = Vec::new();
        let mut rules = Vec::with_capacity(self.rules.len());
        for (label, clauses) in self.rule_labels().zip(&self.rules) {
            let Some(field) = clauses.iter().flatten().find_map(|predicate| predicate.values.http_key()) else {
                rules.push(clauses.clone());
                continue;
            };
            let rule = RuleName::new(self.name.clone(), label).label();
            let affected = format!("{}HTTP-only field `{field}`", warning_start(&self.name, &rule));
            match self.action {
                Action::Allow => {
                    warnings.push(format!("{affected} never matches TCP, so {ALLOWS_NO_CONNECTION}"));
                    rules.push(Vec::new());
                }
                Action::Deny | Action::Audit | Action::Custom => {
                    let action = if self.action == Action::Deny { "DENY" } else { "AUDIT" };
                    warnings
                        .push(format!("{affected} is ignored for TCP, so this {action} rule matches more connections"));
                    let kept = |clause: &Vec<Predicate>| {
                        clause.iter().filter(|predicate| predicate.values.http_key().is_none()).cloned().collect()
                    };
                    let mut kept: Vec<Vec<Predicate>> = clauses.iter().map(kept).collect();
                    // A source stands beside each operation; without them it is the same again and again.
                    kept.dedup_by(|one, other| is_same(one, other));
                    kept.shrink_to_fit();
                    rules.push(kept);
                }
            }
        }
        if warnings.is_empty() {
            return None;
        }
        let policy = Self {
            name: self.name.clone(),
            mode: self.mode,
            action: self.action,
            provider: self.provider.clone(),
            target: self.target.clone(),
            rules,
            rule_names: self.rule_names.clone(),
        };
        Some((policy, warnings))
    }
}

/// Reports whether two clauses of a rule have the same lists, which they share.
fn is_same(one: &[Predicate], other: &[Predicate]) -> bool {
    let is_same =
        |(one, other): (&Predicate, &Predicate)| one.negated == other.negated && Rc::ptr_eq(&one.values, &other.values);
    one.len() == other.len() && one.iter().zip(other).all(is_same)
}
