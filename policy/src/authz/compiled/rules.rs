//! The rules of policies, compiled in the order in which they are reported.

use std::borrow::Cow;
use std::rc::Rc;

use crate::authz::engine::rule::DefaultAction;
use crate::authz::engine::rule_set::RuleSet;
use crate::authz::engine::rule_set_builder::RuleSetBuilder;
use crate::authz::policy_name::RuleName;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::collections::sort::sorted_indices;
use crate::config::enforcement_mode::EnforcementMode;

/// Compiles the rules of policies. Each policy is dropped as soon as it is compiled.
pub(crate) fn compile_rules(
    policies: Vec<Cow<'_, AuthorizationPolicy>>,
    default_action: DefaultAction,
    mode: EnforcementMode,
) -> RuleSet {
    let (rules, positions) = sorted_rules(&policies);
    let mut positions = positions.into_iter();
    let mut builder = RuleSetBuilder::default();
    for policy in policies {
        builder.add_policy(policy.action, policy.mode);
        for (rule, position) in policy.rules.iter().zip(&mut positions) {
            builder.add_rule(position, policy.action, policy.mode, rule.iter().map(Vec::as_slice));
        }
    }
    builder.finish(rules, default_action, mode)
}

/// Returns the rules sorted by text, and for each rule in policy order its position among them.
///
/// The text of a rule begins with its policy in brackets, which no other policy's begins with: so policies are put in
/// order first, then the rules of each by the rest of their texts.
fn sorted_rules(policies: &[Cow<'_, AuthorizationPolicy>]) -> (Vec<RuleName>, Vec<u32>) {
    let sorted = |texts: Vec<String>| sorted_indices(texts.len(), &|one, other| texts.get(one).cmp(&texts.get(other)));
    let mut rules = Vec::new();
    let mut positions = vec![Vec::new(); policies.len()];
    for at in sorted(policies.iter().map(|policy| policy.name.bracketed()).collect()) {
        let (Some(policy), Some(positions)) = (policies.get(at), positions.get_mut(at)) else { continue };
        let name = Rc::new(policy.name.clone());
        let rule = |number| RuleName::new(Rc::clone(&name), policy.rule_label(number));
        positions.resize(policy.rules.len(), 0);
        for number in sorted((0..policy.rules.len()).map(|number| rule(number).text_in_policy()).collect()) {
            if let Some(position) = positions.get_mut(number) {
                *position = u32::try_from(rules.len()).unwrap_or(u32::MAX);
            }
            rules.push(rule(number));
        }
    }
    rules.shrink_to_fit();
    (rules, positions.concat())
}
