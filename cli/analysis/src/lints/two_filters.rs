//! Policies of `baseline-deny` that `identity-authz` reads, since the configuration file has both filters.

use crate::lints::policy::Policy;
use crate::lints::{Lint, Linter};
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::Node;

pub(super) const HEADER_CASE: Lint = Lint {
    code: "header-case",
    title: "A DENY by user agent is for identity-authz, where letter case counts, though baseline-deny is configured too",
    fix: "keep the policies of baseline-deny in a folder of their own, with a sallyport.yaml that has baselineDeny alone",
};

pub(super) fn lint(linter: &mut Linter<'_>) {
    let has = |filter: Filter| linter.contents.config.is_some_and(|config| config.get(filter.key()).is_some());
    if !(has(Filter::IdentityAuthz) && has(Filter::BaselineDeny)) {
        return;
    }
    let denials = linter.policies.iter().filter(|policy| policy.action == "DENY");
    let found: Vec<(Span, String)> = denials.flat_map(of_policy).collect();
    for (span, message) in found {
        linter.warn(HEADER_CASE, span, message, HEADER_CASE.fix);
    }
}

/// Returns the user agents that `baseline-deny` would compare in another way.
fn of_policy(policy: &Policy<'_>) -> Vec<(Span, String)> {
    let conditions = policy.rules.iter().filter_map(|rule| rule.get("when")).flat_map(Node::items);
    let is_agent = |condition: &&Node| {
        let key = condition.text_at(&["key"]);
        key.is_some_and(|key| key.eq_ignore_ascii_case("request.headers[user-agent]"))
    };
    let lists = conditions.filter(is_agent).flat_map(|one| ["values", "notValues"].map(|key| one.get(key)));
    let values = lists.flatten().flat_map(Node::items);
    let differs = |text: &&str| text.contains(|one: char| one.is_alphabetic() || matches!(one, '?' | '['));
    let finding = |value: &Node| {
        let text = value.as_str().filter(differs)?;
        let message = format!(
            "identity-authz reads this policy and compares `{text}` with regard to case, and `*` alone as a pattern; \
             baseline-deny, which is configured too, would not, and reads none of these policies"
        );
        Some((value.span, message))
    };
    values.filter_map(finding).collect()
}
