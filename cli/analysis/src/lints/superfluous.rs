//! Rules that another rule makes superfluous.

use std::collections::BTreeMap;

use crate::lints::cover::covers_rule;
use crate::lints::policy::Policy;
use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::Node;

pub(super) const SUPERFLUOUS_RULE: Lint = Lint {
    code: "superfluous-rule",
    title: "Another rule of policies for the same target matches whatever a rule matches",
    fix: "remove it, or narrow the other",
};

/// Rules beyond this number are not compared: the work grows with its square.
const MAX_COMPARED: usize = 300;

/// Rule with its policy and its index there.
type Rule<'p> = (&'p Policy<'p>, usize, &'p Node);

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut found: Vec<(Span, String)> = Vec::new();
    let mut groups: BTreeMap<String, Vec<Rule<'_>>> = BTreeMap::new();
    for policy in linter.policies.iter().filter(|policy| policy.dry_run().is_none() && policy.action != "CUSTOM") {
        let key = format!("{} {} {}", policy.namespace, policy.action, policy.target());
        let rules = policy.rules.iter().enumerate().map(|(index, rule)| (policy, index, rule));
        groups.entry(key).or_default().extend(rules);
    }
    for rules in groups.values().filter(|rules| rules.len() <= MAX_COMPARED) {
        for (at, (policy, index, rule)) in rules.iter().enumerate() {
            let covering = rules.iter().enumerate().find(|(other_at, (other_policy, _, other))| {
                // Two resources of one name are a fault of their own.
                let is_duplicate =
                    other_policy.resource.span() != policy.resource.span() && other_policy.name() == policy.name();
                if is_duplicate {
                    return false;
                }
                // Of two that are the same the first stays.
                *other_at != at && covers_rule(other, rule) && (*other_at < at || !covers_rule(rule, other))
            });
            if let Some((_, (other, other_index, other_rule))) = covering {
                let place = linter.project.place(other_rule.first_span());
                let message = format!(
                    "rule {index} of {} is superfluous: rule {other_index} of {} matches whatever it does, at {place}",
                    policy.name(),
                    other.name(),
                );
                found.push((rule.first_span(), message));
            }
        }
    }
    for (span, message) in found {
        linter.warn(SUPERFLUOUS_RULE, span, message, SUPERFLUOUS_RULE.fix);
    }
}
