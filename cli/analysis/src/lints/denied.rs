//! ALLOW rules whose requests a DENY rule takes back.

use std::collections::HashMap;

use crate::finding::Finding;
use crate::lints::authentication::ROOT_NAMESPACE;
use crate::lints::cover::covers_rule;
use crate::lints::policy::Policy;
use crate::lints::{Lint, Linter, warning};

pub(super) const DENIED_ANYWAY: Lint = Lint {
    code: "denied-anyway",
    title: "A DENY rule for the same target matches whatever an ALLOW rule allows, so that one lets nobody in",
    fix: "remove the ALLOW rule, or narrow the DENY rule",
};

/// Rules of one action and target beyond this number are not compared: the work grows with their product.
const MAX_COMPARED: usize = 300;

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let is_enforced = |policy: &&Policy<'_>| policy.dry_run().is_none();
    let mut denials: HashMap<(&str, String), Vec<&Policy<'_>>> = HashMap::new();
    for policy in linter.policies.iter().filter(is_enforced).filter(|policy| policy.action == "DENY") {
        denials.entry((policy.namespace, policy.target())).or_default().push(policy);
    }
    let mut findings = Vec::new();
    if denials.is_empty() {
        return findings;
    }
    for policy in linter.policies.iter().filter(is_enforced).filter(|policy| policy.action == "ALLOW") {
        // A DENY for the whole namespace counts for each workload of it.
        let for_all = denials.get(&(policy.namespace, String::new()));
        let for_mesh = denials.get(&(ROOT_NAMESPACE, String::new())).filter(|_| policy.namespace != ROOT_NAMESPACE);
        let for_same = denials.get(&(policy.namespace, policy.target())).filter(|_| !policy.target().is_empty());
        let against: Vec<&&Policy<'_>> = for_all.into_iter().chain(for_mesh).chain(for_same).flatten().collect();
        if against.iter().map(|denial| denial.rules.len()).sum::<usize>() > MAX_COMPARED {
            continue;
        }
        for (index, rule) in policy.rules.iter().enumerate().take(MAX_COMPARED) {
            let covering = against
                .iter()
                .find_map(|denial| Some((*denial, denial.rules.iter().find(|outer| covers_rule(outer, rule))?)));
            if let Some((denial, outer)) = covering {
                let message = format!(
                    "rule {index} of {} lets nobody in: {} denies whatever it allows, at {}",
                    policy.name(),
                    denial.name(),
                    linter.project.place(outer.first_span()),
                );
                findings.push(warning(DENIED_ANYWAY, rule.first_span(), message, DENIED_ANYWAY.fix));
            }
        }
    }
    findings
}
